/** What the fake machines' kernels see of a process's traffic, and what a silent copy is fed with. */
import { ComicranError } from '../../base/errors.ts';
import type { Flow, InputEntry, LogEntry, OutputEntry } from '../../base/traffic-log.ts';
import type { Difference, LogCount, ReplayStatus } from '../ports.ts';

const FLOW: Flow = {
  localAddress: Uint8Array.of(10, 88, 0, 5),
  localPort: 5006,
  remoteAddress: Uint8Array.of(10, 0, 0, 9),
  remotePort: 40_000,
};

/** An answer: of which request, and what it says. */
export type Output = { readonly request: number; readonly digest: Uint8Array };

function inputOf(request: number, index: number): InputEntry {
  const frame = Buffer.alloc(4);
  frame.writeUInt32LE(request);
  return { kind: 'input', index, frames: [frame] };
}

function requestOf({ frames }: InputEntry): number {
  return Buffer.from(frames[0]!).readUInt32LE();
}

/** The log of a process, from its snapshot on. */
export class FakeTap {
  readonly #entries: LogEntry[] = [];
  /** Requests that came behind the end of the log. */
  readonly late: number[] = [];
  #inputs = 0;
  #outputs = 0;
  #told = 0;
  #finished = false;
  overrun = false;

  /** @param unread requests that wait in the socket */
  constructor(unread: readonly number[]) {
    for (const request of unread) this.came(request);
  }

  came(request: number): void {
    if (this.#finished) this.late.push(request);
    else this.#entries.push(inputOf(request, this.#inputs++));
  }

  went({ digest }: Output): void {
    const entry: OutputEntry = { kind: 'output', flow: FLOW, index: this.#outputs++, length: 8, digest };
    this.#entries.push(entry);
  }

  get count(): LogCount {
    return { inputs: this.#inputs, outputs: this.#outputs };
  }

  get finished(): boolean {
    return this.#finished;
  }

  finish(): LogCount {
    this.#finished = true;
    return this.count;
  }

  /** Something can be read. */
  get waiting(): boolean {
    return this.#told < this.#entries.length;
  }

  read(maxEntries: number): LogEntry[] {
    if (this.overrun) throw new ComicranError('replication.overrun', 'a frame was lost');
    const entries = this.#entries.slice(this.#told, this.#told + maxEntries);
    this.#told += entries.length;
    return entries;
  }
}

/** The gate of a silent copy, and what it is compared with. */
export class FakeGate {
  readonly #expected: OutputEntry[] = [];
  readonly #inputs: InputEntry[] = [];
  readonly #made: Output[] = [];
  #injected = 0;
  #compared = 0;
  #difference: Difference | undefined;

  play(entries: readonly LogEntry[]): void {
    for (const entry of entries)
      if (entry.kind === 'input') this.#inputs.push({ ...entry, frames: entry.frames.map((frame) => frame.slice()) });
      else this.#expected.push({ ...entry, digest: entry.digest.slice() });
  }

  /** @returns requests to be put into the copy's socket. */
  inject(): number[] {
    const fresh = this.#inputs.slice(this.#injected);
    this.#injected = this.#inputs.length;
    return fresh.map(requestOf);
  }

  sent(output: Output): void {
    this.#made.push(output);
  }

  compare(): ReplayStatus {
    while (this.#compared < Math.min(this.#expected.length, this.#made.length) && this.#difference === undefined) {
      const { digest: expected } = this.#expected[this.#compared]!;
      const { digest: found } = this.#made[this.#compared]!;
      if (Buffer.from(expected).equals(found)) this.#compared++;
      else
        this.#difference = {
          flow: FLOW,
          index: this.#compared,
          expected: { length: 8, digest: expected },
          found: { length: 8, digest: found, beginning: found.slice(0, 8) },
        };
    }
    const held = this.#made.length - this.#compared;
    return { injected: this.#injected, compared: this.#compared, held, difference: this.#difference };
  }

  /** Answers that nobody has had, and that are let out now. */
  takeHeld(): Output[] {
    return this.#made.splice(this.#compared);
  }
}
