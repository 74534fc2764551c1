/** A process whose memory changes, and a copy of it that is kept by a tracker. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { NO_FAULTS } from '../../../src/checkpoint/faults.ts';
import { freezeThreads, releaseThreads, Stragglers } from '../../../src/checkpoint/freeze.ts';
import { inStop } from '../../../src/checkpoint/in-stop.ts';
import { probeKernel } from '../../../src/linux/kernel-facts.ts';
import { type MemoryRange, ProcessMemory } from '../../../src/linux/memory.ts';
import { PageFinder } from '../../../src/linux/pagemap.ts';
import { TracedProcess, type Tracee } from '../../../src/linux/tracee.ts';
import { listAreas } from '../../../src/paging/tracking/areas.ts';
import type { InStop } from '../../../src/paging/tracking/write-log.ts';
import { openTracker, type WriteTracker } from '../../../src/paging/tracking/write-tracker.ts';

export const facts = probeKernel();
const PAGE = 4096;
const PYTHON = '/usr/bin/python3';

/** A process that does what it is told by lines. */
export class Target {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    this.pid = child.pid!;
  }

  static async start(argv: readonly string[]): Promise<Target> {
    const [command, ...args] = argv;
    const target = new Target(spawn(command!, args, { stdio: ['pipe', 'pipe', 'inherit'] }));
    await target.#lines.next();
    return target;
  }

  static scribbler(): Promise<Target> {
    return Target.start([PYTHON, join(import.meta.dirname, '../programs/scribbler.py')]);
  }

  /** @returns its answer. */
  async tell(line: string): Promise<string> {
    this.#child.stdin!.write(`${line}\n`);
    const { done, value } = await this.#lines.next();
    assert.ok(done !== true, 'the process has ended');
    return value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const over = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await over;
  }
}

const freezeOptions = () => ({ deadlineMicros: 1e6, stragglers: new Stragglers(), faults: NO_FAULTS });

/** Short stops of a process, as a tracker needs them. */
export function stopperOf(pid: number): InStop {
  return <T>(run: (main: Tracee) => T): T => {
    const traced = new TracedProcess(pid, 0n, true);
    try {
      return inStop(traced, freezeOptions(), run);
    } finally {
      traced.close();
    }
  };
}

export function track(pid: number): WriteTracker {
  return openTracker(pid, { facts, inStop: stopperOf(pid) });
}

/** Does something while every thread of a process stands still. */
export function whileStopped<T>(pid: number, run: () => T): T {
  const traced = new TracedProcess(pid, 0n, true);
  const threads = freezeThreads(traced, freezeOptions());
  try {
    return run();
  } finally {
    releaseThreads(traced, threads);
    traced.close();
  }
}

/** A copy of a process's memory: its own pages by their addresses. */
export class Copy {
  readonly #pages = new Map<number, Buffer>();

  /** Applies what a round tells. */
  apply(
    round: { readonly written: readonly MemoryRange[]; readonly gone: readonly MemoryRange[] },
    read: (ranges: readonly MemoryRange[], into: Uint8Array) => void,
  ): void {
    for (const page of pagesOf(round.gone)) this.#pages.delete(page);
    const bytes = Buffer.alloc(round.written.reduce((sum, { length }) => sum + length, 0));
    read(round.written, bytes);
    let at = 0;
    for (const page of pagesOf(round.written)) {
      this.#pages.set(page, bytes.subarray(at, at + PAGE));
      at += PAGE;
    }
  }

  follow(tracker: WriteTracker): void {
    this.apply(tracker.next(), (ranges, into) => tracker.read(ranges, into));
  }

  /** Takes out what is gone. */
  keepOnly(own: readonly MemoryRange[]): void {
    const kept = new Set(pagesOf(own));
    for (const page of this.#pages.keys()) if (!kept.has(page)) this.#pages.delete(page);
  }

  /** All of it, as a restore takes it. */
  contents(): { ranges: MemoryRange[]; bytes: Buffer } {
    const pages = [...this.#pages].toSorted(([a], [b]) => a - b);
    const ranges = pages.map(([page]) => ({ start: BigInt(page), length: PAGE }));
    return { ranges, bytes: Buffer.concat(pages.map(([, bytes]) => bytes)) };
  }

  /**
   * That it has every own page of a process that stands still, with its contents. If it has others, then because they were
   * its own until they were read; they are now what the file has there.
   */
  assertEqualTo(pid: number): void {
    const finder = new PageFinder(pid, facts.pagemapScan);
    const memory = new ProcessMemory(pid);
    const left = new Set(this.#pages.keys());
    try {
      for (const { start, end } of listAreas(pid))
        for (const span of finder.ownPages(BigInt(start), BigInt(end)))
          for (let page = Number(span.start); page < Number(span.end); page += PAGE) {
            left.delete(page);
            const has = this.#pages.get(page);
            assert.ok(has !== undefined, `page ${page.toString(16)} was never told`);
            if (!has.equals(memory.read(BigInt(page), PAGE))) assert.fail(`page ${page.toString(16)} differs`);
          }
      for (const page of left)
        if (!memory.read(BigInt(page), PAGE).equals(this.#pages.get(page)!))
          assert.fail(`page ${page.toString(16)} is gone`);
    } finally {
      memory.close();
      finder.close();
    }
  }
}

function* pagesOf(ranges: readonly MemoryRange[]): Iterable<number> {
  for (const { start, length } of ranges)
    for (let page = Number(start); page < Number(start) + length; page += PAGE) yield page;
}
