/**
 * Writes noticed by a userfaultfd that asks nobody (UFFD_FEATURE_WP_ASYNC): a page that has been told is write-protected; the
 * first write to it takes the protection away and goes on at once, which costs it a fault of 1–2 µs.
 *
 * No area needs to be known beforehand. One that is new, or has taken the place of another, or was moved by mremap, is not
 * registered: all its pages count as written, and it is registered then. One without pages of its own is left alone.
 */
import { ComicranError } from '../../base/errors.ts';
import { EBUSY } from '../../linux/errno.ts';
import { PageRuns } from '../../linux/page-runs.ts';
import { closeDescriptor } from '../../linux/pidfd.ts';
import { enableFeatures, FEATURE, REGISTER_MODE, tryRegister, tryUnregister } from '../../linux/userfaultfd.ts';
import { OwnPages, type ScannedArea, WriteScan } from '../../linux/write-scan.ts';
import { joined, listAreas } from './areas.ts';
import { plantUserfaultfd } from './plant.ts';
import type { InStop, Look, WriteLog } from './write-log.ts';

/** How much is unregistered at once, as the kernel lets no page fault of the process through meanwhile: some 0.5 ms. */
const STEP_BYTES = 16 << 20;
const HUGE_PAGE_BYTES = 2 << 20;

export class UserfaultfdLog implements WriteLog {
  readonly stopsForNext = false;
  readonly #pid: number;
  readonly #descriptor: number;
  readonly #scan: WriteScan;

  private constructor(pid: number, descriptor: number) {
    this.#pid = pid;
    this.#descriptor = descriptor;
    this.#scan = new WriteScan(pid);
  }

  /** @throws KernelError, ComicranError; the process is then as it was. */
  static open(pid: number, inStop: InStop): UserfaultfdLog {
    const descriptor = inStop(plantUserfaultfd);
    try {
      enableFeatures(descriptor, FEATURE.WP_ASYNC | FEATURE.WP_UNPOPULATED);
      refuseTracked(pid);
      return new UserfaultfdLog(pid, descriptor);
    } catch (error) {
      closeDescriptor(descriptor);
      throw error;
    }
  }

  next(asItIs = false): Look {
    const own = new PageRuns();
    const written = new PageRuns();
    for (const area of listAreas(this.#pid)) {
      const taken = new PageRuns();
      this.#scan.take(area, taken);
      let seen = this.#look(area);
      const renewed = !asItIs && seen.unarmed.count > 0 && this.#register(area);
      if (renewed) {
        this.#scan.take(area, new PageRuns());
        seen = this.#look(area);
      }
      own.appendAll(seen.own);
      written.appendAll(renewed ? seen.own : taken.union(seen.unarmed).union(seen.thrownAway));
    }
    return { own, written };
  }

  last(areas: readonly ScannedArea[]): Look {
    const seen = new OwnPages();
    for (const area of joined(areas)) this.#scan.look(area, seen);
    return { own: seen.own, written: seen.changed };
  }

  #look(area: ScannedArea): OwnPages {
    const seen = new OwnPages();
    this.#scan.look(area, seen);
    return seen;
  }

  /** @returns false: the area is not there any more as it was, which the next round will see. */
  #register({ start, end }: ScannedArea): boolean {
    const result = tryRegister(this.#descriptor, BigInt(start), BigInt(end - start), REGISTER_MODE.WP);
    if (result === -EBUSY)
      throw new ComicranError(
        'process.unsupported',
        `the writes of process ${this.#pid} are tracked by somebody else`,
        {
          hint: 'Another migration of it may be under way.',
        },
      );
    return result === 0;
  }

  /** Closing alone would do, but would hold up the process for some 30 ms a gigabyte. */
  close(): void {
    try {
      this.#unregister();
    } catch {
      // The process has ended.
    }
    this.#scan.close();
    closeDescriptor(this.#descriptor);
  }

  #unregister(): void {
    for (const area of listAreas(this.#pid))
      for (const { start, end } of inSteps(area, this.#look(area).own))
        tryUnregister(this.#descriptor, BigInt(start), BigInt(end - start));
  }
}

function trackedError(pid: number): ComicranError {
  return new ComicranError('process.unsupported', `the writes of process ${pid} are tracked by somebody else`, {
    hint: 'Another migration of it may be under way.',
  });
}

/** Two trackers would take each other's notes, and the second one's areas look to it as if it had registered them. */
function refuseTracked(pid: number): void {
  const scan = new WriteScan(pid);
  try {
    if (listAreas(pid).some((area) => scan.isArmed(area))) throw trackedError(pid);
  } finally {
    scan.close();
  }
}

/** An area in parts with about {@link STEP_BYTES} of its pages each. A huge page is in one of them. */
function inSteps({ start, end }: ScannedArea, own: PageRuns): { start: number; end: number }[] {
  const steps: { start: number; end: number }[] = [];
  let from = start;
  let bytes = 0;
  for (let index = 0; index < own.count; index++) {
    for (let at = own.start(index); at < own.end(index); ) {
      const next = Math.min(own.end(index), (Math.floor(at / HUGE_PAGE_BYTES) + 1) * HUGE_PAGE_BYTES);
      bytes += next - at;
      at = next;
      if (bytes < STEP_BYTES || at % HUGE_PAGE_BYTES !== 0 || at >= end) continue;
      steps.push({ start: from, end: at });
      from = at;
      bytes = 0;
    }
  }
  steps.push({ start: from, end });
  return steps;
}
