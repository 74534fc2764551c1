/** The VM's own program that a sandbox begins with. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { ComicranError } from '../base/errors.ts';
import { type Child, spawnedChild } from './child.ts';

/** Descriptors 0, 1 and 2 of a child. */
export type StdioFds = readonly [number, number, number];

const IDLE_TIMEOUT_MS = 10_000;
const IDLE_POLL_MS = 0.5;
/** To wait on without an event loop. */
const NEVER_CHANGES = new Int32Array(new SharedArrayBuffer(4));
const HOST_ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };

/**
 * An idle program with the descriptors that the root process will have. It ends with jailor's main thread.
 * @param more descriptors that it has from 3 on.
 */
export function startZygote(stdio: StdioFds, more: readonly number[] = []): Child {
  return startHostProgram('setpriv', ['--pdeathsig', 'KILL', 'sleep', 'infinity'], [...stdio, ...more]);
}

function startHostProgram(name: string, words: readonly string[], stdio: number[]): Child {
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

function missingTool(name: string): ComicranError {
  return new ComicranError('needs.tool', `the program ${name} cannot be started`, {
    hint: 'Install the Debian packages util-linux and coreutils.',
  });
}
