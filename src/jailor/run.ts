/** jailor as a program, in the foreground: as a person runs it. */

import { stat } from 'node:fs';
import { ComicranError } from '../base/errors.ts';
import type { FullConfig } from '../base/sandbox-config.ts';
import { hastenMoves } from '../linux/cgroup-moves.ts';
import { closeOnExecFrom } from '../linux/pipe.ts';
import { exitStatus } from './child.ts';
import { planSandbox } from './plan.ts';
import type { Exit } from './state.ts';
import { Supervisor } from './supervisor.ts';

export type RunOptions = {
  readonly stateDirectory: string;
  readonly skeleton?: { readonly hatcheryPid: number };
  /** The sandbox waits for its start. */
  readonly created?: true;
  /** Restarts of a process that is to come from another machine. */
  readonly restartCount?: number;
};

/** Those that mean something to a program, and that jailor itself can catch and has no use for. */
export const FORWARDED: readonly NodeJS.Signals[] = [
  'SIGTERM',
  'SIGINT',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGWINCH',
];
/**
 * Those that a terminal sends to the whole foreground job. The sandbox is no part of jailor's job: its root process leads a
 * session and a process group of its own, so jailor does for that group what the terminal has done for jailor's.
 */
export const OF_TERMINALS: ReadonlySet<NodeJS.Signals> = new Set(['SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGWINCH']);
const DEFAULT_UMASK = 0o022;
const FIRST_INHERITED_FD = 3;

/** What must be so before namespaces are made. @throws ComicranError needs.root */
export async function prepare(): Promise<void> {
  if (process.geteuid?.() !== 0) {
    throw new ComicranError('needs.root', 'jailor makes namespaces and network links, which needs root', {
      hint: 'Run it as root, for example with sudo. With --dry-run it only prints what it would do.',
    });
  }
  process.umask(DEFAULT_UMASK);
  // What jailor itself was started with beyond its standard streams is nothing for a sandbox.
  closeOnExecFrom(FIRST_INHERITED_FD);
  // libuv's pool belongs to the namespaces of the thread that uses it first, so it is used before there are others; and
  // a thread that has unshared its PID namespace could not make it.
  await new Promise((resolve) => stat('/', resolve));
  hastenMoves();
}

/** The exit status for a shell: the root process's, or 128 + n where signal n ended it. */
function statusOf({ code, signal }: Exit): number {
  if (signal !== null) return exitStatus({ code: null, signal: signal as NodeJS.Signals });
  return code ?? 1;
}

/**
 * Runs a sandbox with jailor's own standard streams and forwards signals to its root process. Nothing is left of it, its
 * directory included, when this returns.
 *
 * @returns the exit status.
 * @throws ComicranError sandbox.exists, sandbox.setup-failed, address.in-use, config.…
 */
export async function runInForeground(config: FullConfig, options: RunOptions): Promise<number> {
  await prepare();
  const plan = planSandbox(config, { ...options, stdio: 'inherit' });
  const supervisor = new Supervisor({ ...options, config, plan, keepDirectory: false, restarts: false });
  await supervisor.claim();
  for (const signal of FORWARDED) {
    process.on(signal, () => {
      const whom = OF_TERMINALS.has(signal) ? 'group' : 'process';
      if (supervisor.state.process !== null) supervisor.signal(signal, whom);
      else void supervisor.terminate(signal, 0);
    });
  }
  await supervisor.start();
  const exit = await supervisor.finished;
  if (exit.reason === 'out-of-memory')
    process.stderr.write(`comicran: the sandbox ${config.id} was out of memory: its root process has been killed\n`);
  return statusOf(exit);
}
