/** jailor as a program: in the foreground, as a person runs it, and in the background, as a daemon does. */

import { closeSync, fstatSync, writeSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { ComicranError, describeError } from '../base/errors.ts';
import type { FullConfig } from '../base/sandbox-config.ts';
import { closeOnExecFrom, makePipe } from '../linux/pipe.ts';
import { exitStatus } from './child.ts';
import { planSandbox } from './plan.ts';
import type { Exit } from './state.ts';
import { Supervisor } from './supervisor.ts';

export type RunOptions = {
  readonly stateDirectory: string;
  readonly skeleton?: { readonly hatcheryPid: number };
};

/** Those that mean something to a program, and that jailor itself can catch and has no use for. */
const FORWARDED: readonly NodeJS.Signals[] = [
  'SIGTERM',
  'SIGINT',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGWINCH',
];
const DEFAULT_UMASK = 0o022;
const FIRST_INHERITED_FD = 3;
const STOP_GRACE_MS = 10_000;
/** Somebody outside the sandbox may hold the other end of a log pipe. */
const LOG_END_TIMEOUT_MS = 1_000;

async function prepare(): Promise<void> {
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
  await stat('/');
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
  const supervisor = new Supervisor({ ...options, config, plan });
  await supervisor.claim();
  for (const signal of FORWARDED) {
    process.on(signal, () => {
      if (supervisor.state.process !== null) supervisor.signal(signal);
      else void supervisor.terminate(signal, 0);
    });
  }
  await supervisor.start();
  const exit = await supervisor.finished;
  supervisor.forget();
  return statusOf(exit);
}

/**
 * Runs a sandbox that is controlled through its socket and logs to its directory, which stays when it has ended.
 *
 * @param tell is called once, when the sandbox runs (or is ready) or could not be made.
 */
export async function runInBackground(
  config: FullConfig,
  options: RunOptions,
  tell: (problem: unknown) => void,
): Promise<void> {
  try {
    await background(config, options, () => tell(undefined));
  } catch (thrown) {
    tell(thrown);
  }
}

async function background(config: FullConfig, options: RunOptions, started: () => void): Promise<void> {
  const [{ ControlServer, checkSocketPath }, { LogWriter }] = await Promise.all([
    import('./control-server.ts'),
    import('./log-writer.ts'),
  ]);
  await prepare();
  const plan = planSandbox(config, { ...options, stdio: 'log' });
  const pipes = { stdout: makePipe(), stderr: makePipe() };
  const logFds = { stdout: pipes.stdout.writeFd, stderr: pipes.stderr.writeFd };
  const stdio = { stdout: fstatSync(logFds.stdout).ino, stderr: fstatSync(logFds.stderr).ino };
  const supervisor = new Supervisor({ ...options, config, plan, logFds, stdio });
  checkSocketPath(supervisor.paths.controlSocket);
  await supervisor.claim();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => void supervisor.terminate('SIGTERM', STOP_GRACE_MS));
  }
  // Its terminal or its daemon went away, which is none of its business.
  process.on('SIGHUP', () => undefined);

  await supervisor.start();
  const log = new LogWriter(supervisor.paths.log);
  const followed = (['stdout', 'stderr'] as const).map((stream) => {
    closeSync(logFds[stream]);
    return log.follow(stream, pipes[stream].readFd);
  });
  const server = new ControlServer(supervisor);
  await server.listen();
  started();

  await supervisor.finished;
  const timer = setTimeout(() => {
    for (const { stop } of followed) stop();
  }, LOG_END_TIMEOUT_MS);
  await Promise.all(followed.map(({ ended }) => ended));
  clearTimeout(timer);
  log.close();
  await server.close();
}

/** Descriptor on which a jailor in the background says once how its start went. */
export const OUTCOME_FD = 3;

export type Outcome =
  | { readonly ok: true }
  | {
      readonly ok: false;
      readonly code: string;
      readonly message: string;
      readonly hint?: string;
      readonly text: string;
    };

/** Writes the outcome and closes the descriptor. That nobody listens is no failure. */
export function writeOutcome(problem: unknown): void {
  const outcome: Outcome = problem === undefined ? { ok: true } : failedOutcome(problem);
  try {
    writeSync(OUTCOME_FD, `${JSON.stringify(outcome)}\n`);
    closeSync(OUTCOME_FD);
  } catch {
    // Started by hand, or by a daemon that is gone.
  }
}

function failedOutcome(problem: unknown): Outcome {
  const text = describeError(problem);
  if (!(problem instanceof ComicranError)) return { ok: false, code: 'sandbox.setup-failed', message: text, text };
  const { code, message, hint } = problem;
  return { ok: false, code, message, text, ...(hint === undefined ? {} : { hint }) };
}
