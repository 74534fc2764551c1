/** Lets a daemon of the lab stand still at a named point of a migration, until the test has done what it wants to do then. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runComicran } from '../../src/lab/demo/program.ts';
import { daemonPid } from './daemons.ts';

const VARIABLE = 'COMICRAN_FAULT';
const POLL_MS = 5;
/** For the way to a point: a migration takes less, also where there is much else to do. */
const PATIENCE_MS = 60_000;

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

function isStopped(pid: number): boolean {
  return /\) T /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
}

/** `source.process.stop:before` and the like: src/sdaemon/migration/faults.ts. */
export type HaltPoint = `${'source' | 'destination'}.${string}:${'before' | 'after'}`;

export class Halts {
  readonly #directory = mkdtempSync(join(tmpdir(), 'comicran-halts-'));
  readonly #file = join(this.#directory, 'fault');

  /** Brings the lab up, with daemons that look for faults. The caller takes it down, and closes this. */
  async labUp(): Promise<void> {
    process.env[VARIABLE] = `@${this.#file}`;
    await runComicran(['lab', 'up']);
  }

  /**
   * The next migration halts at this point: its daemon stands still while `meanwhile` goes on, and then goes on itself.
   * @param node whose daemon it is.
   * @returns when `meanwhile` is done. @throws where the point is not reached
   */
  async at(point: HaltPoint, node: string, meanwhile: () => unknown): Promise<void> {
    const pid = daemonPid(node);
    const deadline = performance.now() + PATIENCE_MS;
    try {
      while (!isStopped(pid)) {
        if (performance.now() > deadline) throw new Error(`the daemon of ${node} did not come to ${point}`);
        await pause(POLL_MS);
      }
      await meanwhile();
    } finally {
      rmSync(this.#file, { force: true });
      process.kill(pid, 'SIGCONT');
    }
  }

  /** To be said before the migration begins. */
  arm(point: HaltPoint): void {
    writeFileSync(this.#file, `${point}=stop\n`);
  }

  /** Leaves nothing. */
  close(): void {
    delete process.env[VARIABLE];
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
