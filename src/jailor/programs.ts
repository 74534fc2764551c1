/** The VM's own programs that stand in a sandbox without being in its root directory. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { ComicranError } from '../base/errors.ts';
import type { ProcessSpec } from '../base/sandbox-config.ts';
import { withSoftDescriptorLimit } from '../linux/descriptor-limit.ts';
import { type Child, spawnedChild } from './child.ts';

/** Descriptors 0, 1 and 2 of a child. */
export type StdioFds = readonly [number, number, number];

/** The soft limit that Linux and systemd give. Node raises its own to the hard one, and select(2) knows no more. */
const USUAL_DESCRIPTORS = 1024n;
const IDLE_TIMEOUT_MS = 10_000;
const IDLE_POLL_MS = 0.5;
/** To wait on without an event loop, which must not turn in the sandbox's namespaces. */
const NEVER_CHANGES = new Int32Array(new SharedArrayBuffer(4));
const HOST_ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };

/**
 * PID 1 of the calling thread's next PID namespace: idle, reaping nothing because it ignores SIGCHLD, which makes the
 * kernel reap its orphans; ended by the kernel when jailor's main thread ends, and the whole PID namespace with it.
 * (libuv gives a child the default signal actions, so `env` sets the one that matters.)
 */
export function startInit(): Child {
  const words = ['--pdeathsig', 'KILL', 'env', '--ignore-signal=CHLD', 'sleep', 'infinity'];
  return startHostProgram('setpriv', words, 'ignore');
}

/** An idle process with the root process's descriptors, out of which a restored process will come. */
export function startHatchery(stdio: StdioFds): Child {
  return startHostProgram('sleep', ['infinity'], [...stdio]);
}

function startHostProgram(name: string, words: readonly string[], stdio: 'ignore' | number[]): Child {
  const child = spawn(name, words, { stdio, env: HOST_ENVIRONMENT, cwd: '/', detached: true });
  // The event only repeats what the missing PID says.
  child.once('error', () => undefined);
  if (child.pid === undefined) throw missingTool(name);
  return spawnedChild(child, child.pid);
}

/**
 * Blocks until a host program that only sleeps has come to do so. Before, it still executes and loads files of the VM by
 * their names; after, it needs none any more.
 *
 * @throws Error when it has ended, or takes too long.
 */
export function awaitIdle(child: Child): void {
  const deadline = performance.now() + IDLE_TIMEOUT_MS;
  while (performance.now() < deadline) {
    // In the state S (interruptible sleep) under this name: reading a file is a sleep of another kind (D).
    const stat = readFileSync(`/proc/${child.hostPid}/stat`, 'latin1');
    if (/\(sleep\) S /.test(stat)) return;
    if (/\) [ZX] /.test(stat)) throw new Error(`an idle process (${child.hostPid}) has ended at once`);
    Atomics.wait(NEVER_CHANGES, 0, 0, IDLE_POLL_MS);
  }
  throw new Error(`an idle process (${child.hostPid}) is not idle after ${IDLE_TIMEOUT_MS} ms`);
}

/** Runs a program of the VM to its end. @throws Error with what it wrote to standard error. */
export function runHostProgram(name: string, words: readonly string[]): void {
  const done = spawnSync(name, words, {
    env: HOST_ENVIRONMENT,
    cwd: '/',
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
  });
  if (done.error !== undefined) {
    throw (done.error as NodeJS.ErrnoException).code === 'ENOENT' ? missingTool(name) : done.error;
  }
  if (done.status !== 0)
    throw new Error(`${name}: ${done.stderr.trim() || `exit status ${done.status ?? done.signal}`}`);
}

function missingTool(name: string): ComicranError {
  return new ComicranError('needs.tool', `the program ${name} cannot be started`, {
    hint: 'Install the Debian packages util-linux, mount and coreutils.',
  });
}

/**
 * Starts the root process in the calling thread's root directory and namespaces, in a session of its own.
 *
 * @returns the child, or a promise that fails with the reason why there is none (it comes as an event, so the caller first
 * leaves the sandbox's namespaces and then waits for it).
 */
export function startRootProcess(spec: ProcessSpec, stdio: StdioFds): Child | { readonly failure: Promise<never> } {
  accessSync(spec.executable, constants.X_OK);
  if (!statSync(spec.workingDirectory).isDirectory()) {
    throw new Error(`the working directory ${spec.workingDirectory} is not a directory`);
  }
  const child = withSoftDescriptorLimit(USUAL_DESCRIPTORS, () =>
    spawn(spec.executable, [...spec.arguments], {
      stdio: [...stdio],
      env: { ...spec.environment },
      cwd: spec.workingDirectory,
      detached: true,
    }),
  );
  if (child.pid !== undefined) return spawnedChild(child, child.pid);
  const failure = once(child, 'error').then(([error]) => {
    throw startFailure(spec, error as NodeJS.ErrnoException);
  });
  return { failure };
}

function startFailure(spec: ProcessSpec, cause: NodeJS.ErrnoException): Error {
  // Both are there (see above), so what is missing is what would run it.
  const why = cause.code === 'ENOENT' ? 'its interpreter or dynamic linker is not in the sandbox' : cause.message;
  return new Error(`${spec.executable}: ${why}`, { cause });
}
