/** Takes away what a jailor that was killed has left. */
import { readdirSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../base/errors.ts';
import {
  type Cgroup,
  cgroupNamed,
  cgroupProcesses,
  findCgroupTrees,
  removeCgroup,
  thawCgroup,
} from '../linux/cgroup.ts';
import { ENODEV } from '../linux/errno.ts';
import { isAlive } from '../linux/process-identity.ts';
import { deleteLink, RouteSocket } from '../linux/rtnetlink/index.ts';
import { signalProcess } from './child.ts';
import { lockDirectory } from './lock.ts';
import { cgroupName, linkName, sandboxesDirectory, sandboxPaths, storeDirectory, tagOf } from './naming.ts';
import { removeRootDirectory } from './root-directory.ts';
import { type SandboxState, writeState } from './state.ts';
import { findSandboxState } from './state-schema.ts';
import { removeAbandoned } from './store/keeping.ts';

const PROCESSES_GONE_TIMEOUT_MS = 5_000;
const POLL_MS = 5;

/** Ends what runs in the sandbox, and removes its cgroup, link and root. The caller holds the sandbox's lock. */
export async function removeLeftovers(stateDirectory: string, id: string): Promise<void> {
  // By name, not by what the state file says: it may not have come to say it.
  const tag = tagOf(stateDirectory, id);
  const cgroup = cgroupNamed(cgroupName(tag), findCgroupTrees());
  if (cgroup !== undefined) {
    thawCgroup(cgroup);
    await endProcesses(cgroup);
    await removeCgroup(cgroup, PROCESSES_GONE_TIMEOUT_MS);
  }
  using socket = new RouteSocket();
  socket.applyUnless(deleteLink(linkName(tag)), ENODEV);
  const state = findSandboxState(stateDirectory, id);
  // One that the configuration named is the operator's: it stays, empty.
  const made = state?.root === sandboxPaths(stateDirectory, id).root;
  if (state?.root != null && !made) removeRootDirectory(state.root, { made });
  rmSync(sandboxPaths(stateDirectory, id).root, { recursive: true, force: true });
}

async function endProcesses(cgroup: Cgroup): Promise<void> {
  const deadline = performance.now() + PROCESSES_GONE_TIMEOUT_MS;
  for (;;) {
    const left = cgroupProcesses(cgroup);
    if (left.length === 0 || performance.now() > deadline) return;
    for (const pid of left) signalProcess(pid, 'SIGKILL');
    await sleep(POLL_MS);
  }
}

/** A sandbox that something has been done about. */
export type Cleaned = {
  readonly id: string;
  /** As it is now: `exited`. Undefined: its directory has been removed. */
  readonly state: SandboxState | undefined;
  /** The jailor had been killed. */
  readonly wasLost: boolean;
};

export type CleanResult = { readonly cleaned: readonly Cleaned[]; readonly failures: readonly Error[] };

/**
 * Takes away what is left of every sandbox of a state directory whose jailor is gone. Sandboxes with a living jailor are
 * not touched. What each was stays to be read in its directory (state.json, log), unless `forget` is given, which removes
 * the directory of every sandbox that has ended, in whatever way.
 */
export async function cleanStale(
  stateDirectory: string,
  options: { readonly forget?: boolean } = {},
): Promise<CleanResult> {
  const cleaned: Cleaned[] = [];
  const failures: Error[] = [];
  removeAbandoned(storeDirectory(stateDirectory));
  for (const id of directoriesIn(sandboxesDirectory(stateDirectory))) {
    try {
      const one = await cleanOne(stateDirectory, id, options.forget === true);
      if (one !== undefined) cleaned.push(one);
    } catch (cause) {
      failures.push(new Error(`sandbox ${id}: ${messageOf(cause)}`, { cause }));
    }
  }
  return { cleaned, failures };
}

async function cleanOne(stateDirectory: string, id: string, forget: boolean): Promise<Cleaned | undefined> {
  const paths = sandboxPaths(stateDirectory, id);
  const lock = lockDirectory(paths.directory);
  if (lock === undefined) return undefined;
  try {
    const state = findSandboxState(stateDirectory, id);
    const wasLost = state === undefined || state.phase !== 'exited';
    if (wasLost) await removeLeftovers(stateDirectory, id);
    if (forget || state === undefined) {
      rmSync(paths.directory, { recursive: true, force: true });
      return { id, state: undefined, wasLost };
    }
    if (!wasLost) return undefined;
    rmSync(paths.controlSocket, { force: true });
    const lost: SandboxState = {
      ...state,
      phase: 'exited',
      exit: { reason: 'jailor-lost', code: null, signal: null },
      root: null,
      frozen: false,
      moving: false,
      health: null,
      guests: 0,
      restarts: { ...state.restarts, nextAtMs: null },
    };
    writeState(paths.state, lost);
    return { id, state: lost, wasLost };
  } finally {
    lock.release();
  }
}

/** Removes the directory of a sandbox that has ended, and what is left of it. @returns false when its jailor lives. */
export async function forgetSandbox(stateDirectory: string, id: string): Promise<boolean> {
  return (await cleanOne(stateDirectory, id, true)) !== undefined;
}

/** What every sandbox's state file says, also of those whose jailor is gone. */
export function listSandboxes(stateDirectory: string): SandboxState[] {
  return directoriesIn(sandboxesDirectory(stateDirectory)).flatMap((id) => findSandboxState(stateDirectory, id) ?? []);
}

/** Id of the sandbox with a living jailor that has an address. */
export function findByAddress(stateDirectory: string, address: string): string | undefined {
  return listSandboxes(stateDirectory).find(
    (state) => state.address === address && state.phase !== 'exited' && isAlive(state.jailor),
  )?.id;
}

function directoriesIn(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
      .toSorted();
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw thrown;
  }
}
