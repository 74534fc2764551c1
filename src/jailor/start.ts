/** Starts a jailor of its own for a sandbox: what a daemon calls. */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { ComicranError } from '../base/errors.ts';
import type { FullConfig } from '../base/sandbox-config.ts';
import { forgetSandbox } from './clean.ts';
import { ControlClient } from './control-client.ts';
import { sandboxPaths } from './naming.ts';
import { readOutcome } from './outcome.ts';

const PROGRAM = join(import.meta.dirname, '../../bin/comicran');
/** The jailor's descriptor on which it tells how its start went. */
const OUTCOME_FD = 3;
/** The first start on a machine copies every file of the sandbox. */
const START_TIMEOUT_MS = 60_000;

export type StartOptions = {
  readonly stateDirectory: string;
  readonly config: FullConfig;
  /** Make a skeleton: no root process, no route. The PID must be one that the process to come does not need. */
  readonly skeleton?: { readonly hatcheryPid: number };
  /** Make a sandbox that waits for its start. */
  readonly created?: true;
  /** Restarts of the process that is to come from another machine. */
  readonly restartCount?: number;
  readonly timeoutMs?: number;
};

/**
 * Starts a sandbox with a jailor that outlives the caller, in the caller's network namespace. Resolves, with a connection
 * to it, when the root process runs or the skeleton is ready.
 *
 * @throws ComicranError what jailor says: sandbox.exists, sandbox.setup-failed, address.in-use, config.…; or deadline. In
 * every case nothing of the sandbox is left.
 */
export async function startSandbox(options: StartOptions): Promise<ControlClient> {
  const { config, skeleton, created, restartCount = 0 } = options;
  // The jailor's working directory is another one.
  const stateDirectory = resolve(options.stateDirectory);
  const { directory, jailorLog } = sandboxPaths(stateDirectory, config.id);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const logFd = openSync(jailorLog, 'a', 0o600);
  const words = ['jailor', 'run', '-', '--background', '--outcome-fd', String(OUTCOME_FD), '--state', stateDirectory];
  if (skeleton !== undefined) words.push('--skeleton', '--hatchery-pid', String(skeleton.hatcheryPid));
  if (created === true) words.push('--created');
  if (restartCount > 0) words.push('--restarts', String(restartCount));
  const jailor = spawn(PROGRAM, words, { detached: true, stdio: ['pipe', logFd, logFd, 'pipe'], cwd: '/' });
  closeSync(logFd);
  try {
    const outcome = new Promise<string>((resolve, reject) => {
      jailor.once('error', reject);
      readAll(jailor.stdio[OUTCOME_FD] as Readable).then(resolve, reject);
    });
    (jailor.stdin as Writable).on('error', () => undefined).end(JSON.stringify(config));
    checkOutcome(config.id, await withDeadline(outcome, options.timeoutMs ?? START_TIMEOUT_MS, config.id), jailorLog);
  } catch (thrown) {
    const code = thrown instanceof ComicranError ? thrown.code : undefined;
    if (code === 'deadline') jailor.kill('SIGTERM');
    // Whoever it belongs to then, it is not the sandbox that was to be started.
    else if (code !== 'sandbox.exists') await forgetSandbox(stateDirectory, config.id);
    throw thrown;
  } finally {
    jailor.unref();
  }
  try {
    return await ControlClient.connect(stateDirectory, config.id);
  } catch (thrown) {
    jailor.kill('SIGTERM');
    throw thrown;
  }
}

async function readAll(stream: Readable): Promise<string> {
  let text = '';
  stream.setEncoding('utf8');
  for await (const chunk of stream) text += chunk;
  return text;
}

async function withDeadline(outcome: Promise<string>, timeoutMs: number, id: string): Promise<string> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    reject(new ComicranError('deadline', `sandbox ${id} was not made within ${timeoutMs} ms`));
  }, timeoutMs);
  try {
    return await Promise.race([outcome, late]);
  } finally {
    clearTimeout(timer);
  }
}

function checkOutcome(id: string, text: string, jailorLog: string): void {
  if (text === '') {
    throw new ComicranError('sandbox.setup-failed', `the jailor of sandbox ${id} ended without a word`, {
      hint: `Look into ${jailorLog}.`,
    });
  }
  const failure = readOutcome(text);
  if (failure !== undefined) throw failure;
}
