/** Faults at named points of a migration, in daemons of the lab that run: none is started anew but one that a fault has killed. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { runComicran } from '../../src/lab/demo/program.ts';
import type { FaultAction } from '../../src/sdaemon/migration/faults.ts';
import { daemonLives, daemonPid } from './daemons.ts';

const VARIABLE = 'COMICRAN_FAULT';
const POLL_MS = 5;
/** For the way to a point: a migration takes less, also where there is much else to do. */
const PATIENCE_MS = 60_000;

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

function isStopped(pid: number): boolean {
  return /\) T /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
}

/** It may have been killed meanwhile. */
function goOn(pid: number): void {
  try {
    process.kill(pid, 'SIGCONT');
  } catch (thrown) {
    if (!(thrown instanceof Error) || !('code' in thrown) || thrown.code !== 'ESRCH') throw thrown;
  }
}

/** `source.traffic.cut:before` and the like: src/sdaemon/migration/faults.ts. */
export type FaultPoint = `${'source' | 'destination'}.${string}:${'before' | 'after'}`;

export class Faults {
  readonly #directory = mkdtempSync(join(tmpdir(), 'comicran-faults-'));
  readonly #file = join(this.#directory, 'fault');

  /** Brings the lab up, or heals it, with daemons that look for faults. The caller takes it down, and closes this. */
  async labUp(): Promise<void> {
    process.env[VARIABLE] = `@${this.#file}`;
    await runComicran(['lab', 'up']);
  }

  /** The next migration meets this fault. To be said before it begins. */
  arm(point: FaultPoint, action: FaultAction): void {
    writeFileSync(this.#file, `${point}=${action}\n`);
  }

  /** Whether the fault that was armed last has struck. */
  get hasStruck(): boolean {
    return !existsSync(this.#file);
  }

  /**
   * Waits for a `stop`: its daemon stands still while `meanwhile` goes on, and then goes on itself.
   * @param node whose daemon it is.
   * @returns when `meanwhile` is done. @throws where the point is not reached
   */
  async halted(point: FaultPoint, node: string, meanwhile: () => unknown): Promise<void> {
    const pid = daemonPid(node);
    try {
      await this.#reached(point, () => isStopped(pid));
      await meanwhile();
    } finally {
      rmSync(this.#file, { force: true });
      goOn(pid);
    }
  }

  /**
   * Migrates, with a daemon that is killed at the point and is started again: at once, as whoever looks after daemons
   * does it, or, `late`, when everybody else has drawn his conclusions.
   * @throws where the point is not reached
   */
  async killedAt<T>(
    point: FaultPoint,
    node: string,
    migrate: () => Promise<T>,
    { late = false } = {},
  ): Promise<PromiseSettledResult<T>> {
    this.arm(point, 'kill');
    let isOver = false;
    const ended = Promise.allSettled([migrate()]).finally(() => {
      isOver = true;
    });
    await this.#reached(point, () => !daemonLives(node) || (isOver && !this.hasStruck));
    if (!this.hasStruck) throw new Error(`the migration has not come to ${point}: ${inspect((await ended)[0])}`);
    if (late) await ended;
    await this.labUp();
    return (await ended)[0];
  }

  async #reached(point: FaultPoint, isReached: () => boolean): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    while (!isReached()) {
      if (performance.now() > deadline) throw new Error(`no migration has come to ${point}`);
      await pause(POLL_MS);
    }
  }

  /** Leaves nothing. */
  close(): void {
    delete process.env[VARIABLE];
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
