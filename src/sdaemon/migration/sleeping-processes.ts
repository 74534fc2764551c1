/** Processes that do nothing, for the engine to be tried on: in a PID namespace of their own, and gone with this thread. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeOnExecFrom } from '../../linux/pipe.ts';
import { listChildren, readStatus } from '../../linux/procfs.ts';

const PATIENCE_MS = 20_000;
/**
 * PID 1 of a PID namespace, reaping what ends (SIGCHLD is ignored), with a process to move back and forth and a hatchery.
 * The descriptors are there to be moved.
 */
const SCRIPT =
  'sleep infinity 3</dev/null 4</ 5>/dev/null & sleep infinity & exec env --ignore-signal=CHLD sleep infinity';

export class SleepingProcesses {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** They start while the caller goes on. Null where they cannot. */
  static start(): SleepingProcesses | null {
    // What this program was given itself is not for them: they are to have nothing that cannot be moved.
    closeOnExecFrom(3);
    // A daemon that is killed meanwhile does not leave them behind.
    const words = ['--pdeathsig', 'KILL', 'unshare', '--pid', '--fork', '--kill-child', 'sh', '-c', SCRIPT];
    const child = spawn('setpriv', words, { stdio: 'ignore', cwd: '/', env: { PATH: '/usr/bin:/bin' } });
    child.once('error', () => undefined);
    child.unref();
    return child.pid === undefined ? null : new SleepingProcesses(child);
  }

  /** Waits until both are there, without giving the thread away. */
  get pids(): readonly [number, number] {
    const init = until(() => listChildren(this.#child.pid!)[0]);
    return until(() => {
      const [first, second] = listChildren(init).filter((pid) => readStatus(pid).text('Name') === 'sleep');
      const areBoth = first !== undefined && second !== undefined && readStatus(init).text('Name') === 'sleep';
      return areBoth ? [first, second] : undefined;
    });
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

const pause = new Int32Array(new SharedArrayBuffer(4));

/** Waits for something without giving the thread away. */
export function until<T>(look: () => T | undefined): T {
  for (let waited = 0; waited < PATIENCE_MS; waited++) {
    const found = look();
    if (found !== undefined) return found;
    Atomics.wait(pause, 0, 0, 1);
  }
  throw new Error('the processes to try the engine on do not start');
}
