/** Children of jailor: those that it has spawned, and one that another program has made its child. */
import type { ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import { ComicranError } from '../base/errors.ts';
import { listChildren } from '../linux/procfs.ts';
import { pollThread } from '../linux/wait.ts';

/** How a process ended: exactly one of the two. */
export type Ending =
  | { readonly code: number; readonly signal: null }
  | { readonly code: null; readonly signal: NodeJS.Signals };

export type Child = {
  /** As jailor sees it. */
  readonly hostPid: number;
  /** Resolves when it has been reaped; never rejects. */
  readonly ended: Promise<Ending>;
  /** It has been reaped: its PID may be another process's by now. */
  readonly isOver: boolean;
  /**
   * Does nothing once it has ended: the PID may be another process's by then.
   *
   * @param whom `group`: every process of the process group that it leads; nobody where it leads none.
   */
  kill(signal: NodeJS.Signals, whom?: 'process' | 'group'): void;
};

/** Enough for a process that dumps its memory to a slow disk. */
const KILL_TIMEOUT_MS = 10_000;
const LOOK_INTERVAL_MS = 1_000;
const SIGNAL_NAMES = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));

/** Exit status as a shell reports it: 128 + n for signal n. */
export function exitStatus(ending: Ending): number {
  return ending.signal === null ? ending.code : 128 + constants.signals[ending.signal];
}

/** @param spawned has a PID: its executable runs. */
export function spawnedChild(spawned: ChildProcess, hostPid: number): Child {
  return {
    hostPid,
    get isOver() {
      return spawned.exitCode !== null || spawned.signalCode !== null;
    },
    ended: new Promise((resolve) => {
      spawned.once('exit', (code, signal) => {
        resolve(signal === null ? { code: code ?? 0, signal: null } : { code: null, signal });
      });
    }),
    kill(signal, whom) {
      if (!this.isOver) signalProcess(target(hostPid, whom), signal);
    },
  };
}

/**
 * A child that libuv knows nothing of. libuv waits for its own children one by one, never for any child, so this one's
 * exit status stays until it is asked for here.
 */
export function adoptedChild(hostPid: number): Child {
  let over = false;
  const ended = new Promise<Ending>((resolve) => {
    const look = (): void => {
      const ending = reap(hostPid);
      if (ending === undefined) return;
      over = true;
      process.off('SIGCHLD', look);
      clearInterval(alive);
      resolve(ending);
    };
    // A listener for a signal does not keep the program running, and without its children it has nothing to wait for.
    const alive = setInterval(look, LOOK_INTERVAL_MS);
    process.on('SIGCHLD', look);
    look();
  });
  return {
    hostPid,
    ended,
    get isOver() {
      return over;
    },
    kill: (signal, whom) => {
      if (!over) signalProcess(target(hostPid, whom), signal);
    },
  };
}

export type StrangerReaper = {
  /** From now on at once: the sandbox is taken down, and waits for its last zombie. */
  hurry(): void;
  stop(): void;
};

/** How long the daemon has to see how a stranger has ended. */
const STRANGER_LINGERS_MS = 500;

/**
 * Reaps children that jailor has not started and does not know: a process that came out of the hatchery and ended before
 * anybody adopted it. As a zombie it would keep its PID namespace, and so the init, from ever ending. It stays one for a
 * moment: only so its exit code can be seen by the daemon, which has a migration to end because of it.
 *
 * The sandbox decides how many there are, and which PIDs they have: what it clones with CLONE_PARENT is a child of jailor, and
 * PIDs begin again at the end of their range.
 *
 * @param isKnown children that somebody else waits for. Every child that exists must be known or a stranger by now; one that
 *   has been reaped is nobody's.
 */
export function reapStrangers(isKnown: (hostPid: number) => boolean): StrangerReaper {
  let lingersMs = STRANGER_LINGERS_MS;
  const look = (): void => {
    for (const pid of listChildren(process.pid)) if (!isKnown(pid)) reap(pid);
  };
  const lookLater = (): void => {
    if (lingersMs === 0) look();
    else setTimeout(look, lingersMs).unref();
  };
  process.on('SIGCHLD', lookLater);
  look();
  return {
    hurry() {
      lingersMs = 0;
      look();
    },
    stop: () => void process.off('SIGCHLD', lookLater),
  };
}

function reap(hostPid: number): Ending | undefined {
  try {
    const status = pollThread(hostPid);
    if (status === null || status.kind === 'stopped') return undefined;
    if (status.kind === 'exited') return { code: status.code, signal: null };
    return { code: null, signal: (SIGNAL_NAMES.get(status.signal) ?? 'SIGKILL') as NodeJS.Signals };
  } catch (thrown) {
    // Somebody else has reaped it: it is gone, and how it went is lost.
    if (thrown instanceof ComicranError && thrown.code === 'process.gone') return { code: null, signal: 'SIGKILL' };
    throw thrown;
  }
}

/** Ends a child. @throws Error when it has not ended after a while: whoever cleans up goes on with the rest. */
export async function killed(child: Child): Promise<void> {
  child.kill('SIGKILL');
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    reject(new Error(`process ${child.hostPid} has not ended ${KILL_TIMEOUT_MS} ms after SIGKILL`));
  }, KILL_TIMEOUT_MS);
  try {
    await Promise.race([child.ended, late]);
  } finally {
    clearTimeout(timer);
  }
}

function target(pid: number, whom: 'process' | 'group' = 'process'): number {
  return whom === 'group' ? -pid : pid;
}

/** A process that has just gone is no failure. @param pid as for kill(2): negative for a process group. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ESRCH') throw thrown;
  }
}
