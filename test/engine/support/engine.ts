/** The engine as the tests use it. */
import type { FrozenSource } from '../../../src/checkpoint/frozen.ts';
import type { Snapshot } from '../../../src/checkpoint/snapshot.ts';
import { openSource, type Source, type SourceOptions } from '../../../src/checkpoint/source.ts';
import { FileLooks } from '../../../src/linux/file-digest.ts';
import { probeKernel } from '../../../src/linux/kernel-facts.ts';
import { listThreads, readStatus } from '../../../src/linux/procfs.ts';
import { beginRestore, type RestoreOptions } from '../../../src/restore/begin-restore.ts';
import type { RestoringProcess } from '../../../src/restore/restoring.ts';
import { Cage, type StartOptions } from './cage.ts';

type Photograph = Pick<FrozenSource | Snapshot, 'image' | 'pages' | 'readPages'>;

export const facts = probeKernel();
export const files = new FileLooks();

export function open(pid: number, options: Partial<SourceOptions> = {}): Source {
  return openSource(pid, { facts, files, ...options });
}

/** Memory of all pages that travel, one behind another. */
export function readAllPages(frozen: Photograph): Buffer {
  const bytes = Buffer.allocUnsafeSlow(frozen.pages.reduce((sum, { length }) => sum + length, 0));
  frozen.readPages(frozen.pages, bytes);
  return bytes;
}

export async function begin(
  frozen: Photograph,
  cage: Cage,
  options: Partial<RestoreOptions> = {},
): Promise<RestoringProcess> {
  const hatchery = await cage.hatchery();
  return beginRestore(frozen.image, hatchery, { facts, files, ...options });
}

/** The process in another cage, up to the moment in which it would run. */
export async function restore(frozen: Photograph, cage: Cage): Promise<RestoringProcess> {
  const restoring = await begin(frozen, cage);
  restoring.writePages(frozen.pages, readAllPages(frozen));
  restoring.finish();
  return restoring;
}

/** A process in its cage; `move` takes it to another one. Both are gone when the test is over. */
export class Resident {
  cage: Cage;
  pid: number;

  private constructor(cage: Cage, pid: number) {
    this.cage = cage;
    this.pid = pid;
  }

  /** For a process that comes to be in a cage in another way; its PID is set later. */
  static in(cage: Cage): Resident {
    return new Resident(cage, 0);
  }

  static async start(argv: readonly string[], options: StartOptions = {}): Promise<Resident> {
    const cage = await Cage.make();
    try {
      return new Resident(cage, await cage.start(argv, options));
    } catch (error) {
      await cage.remove();
      throw error;
    }
  }

  /** Freezes it, rebuilds it in a new cage, ends it here, and lets it run there. */
  async move(): Promise<void> {
    const next = await Cage.make();
    try {
      using source = open(this.pid);
      const frozen = source.freeze();
      const restoring = await restore(frozen, next);
      frozen.kill();
      restoring.run();
      this.pid = restoring.pid;
    } catch (error) {
      await next.remove();
      throw error;
    }
    await this.cage.remove();
    this.cage = next;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cage.remove();
  }
}

/** Waits until every thread of a process has taken the stop that was sent to it. */
export async function untilStopped(pid: number): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if (listThreads(pid).every((tid) => readStatus(pid, tid).text('State').startsWith('T'))) return;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  throw new Error(`process ${pid} does not stop`);
}
