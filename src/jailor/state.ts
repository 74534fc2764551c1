/**
 * What stands in a sandbox's `state.json`: enough for a daemon that has been started again to find the sandbox, and for
 * anybody to take away what a jailor that was killed has left. Written whole, by renaming, at every transition:
 *
 *     starting ──► running ──────────────► exited      run: the root process ends
 *        │         ▲     ▼
 *        │        restarting ────────────► exited      the restart policy has it started again, or gives up
 *        │
 *        ├───────► created ──► running ──► exited      create: start makes the hatchery's place the root process's
 *        │
 *        └───────► ready ──► running ────► exited      skeleton: adopt makes a restored process the root process
 *                    └───────────────────► exited      skeleton: nobody came
 *
 * A running one may be `frozen`: nothing in it runs; or `moving`: a migration has it, and what its processes come to is for
 * that to say. It is never both, and moving it is neither restarted nor looked at, nor is anything else started in it.
 *
 * `exited` is written when everything but this directory has been taken down. A sandbox that could not be made leaves no
 * directory at all. The schema that checks a file is in state-schema.ts.
 */
import { renameSync, writeFileSync } from 'node:fs';
import type { Cgroup } from '../linux/cgroup.ts';
import type { IdMaps } from '../linux/id-map.ts';
import type { ProcessIdentity } from '../linux/process-identity.ts';
import type { Ending } from './child.ts';
import type { RootFiles } from './store/use.ts';

export type ProcessState = ProcessIdentity & {
  /** PID inside the sandbox. (`pid` and `startTicks` are as the VM sees it.) */
  readonly innerPid: number;
};

/** Why a sandbox is no more. */
export type ExitReason =
  /** The root process ended by itself. */
  | 'ended'
  /** The kernel has killed it, because the sandbox had no memory left. */
  | 'out-of-memory'
  /** On request, or because jailor was told to end. */
  | 'terminated'
  /** The process runs somewhere else now. */
  | 'released'
  /** jailor has ended it, because its health command or probe had failed too often. */
  | 'unhealthy'
  /** Skeleton: the hatchery ended and nobody had adopted a process. */
  | 'hatchery-lost'
  /** jailor was killed; whoever noticed has cleaned up. */
  | 'jailor-lost';

export type Exit = {
  readonly reason: ExitReason;
  /** Of the root process; null when there was none, or nobody knows. */
  readonly code: number | null;
  readonly signal: string | null;
};

export type Phase = 'starting' | 'ready' | 'created' | 'running' | 'restarting' | 'exited';

/** How the restart policy has fared. It moves with the sandbox. */
export type Restarts = {
  /** Of the root process, since the sandbox was started, wherever that was. */
  readonly count: number;
  /** Those since it last ran for a while. */
  readonly inRow: number;
  /** Milliseconds of Unix time of the next one, where the phase is `restarting`. */
  readonly nextAtMs: number | null;
  /** Milliseconds of Unix time of the last one here; null: there was none here. */
  readonly startedAtMs: number | null;
  /** How the run before ended here; null: there was none here. */
  readonly last: Exit | null;
  /** The most in a row that the policy allows have been made. */
  readonly gaveUp: boolean;
};

export const NO_RESTARTS: Restarts = {
  count: 0,
  inRow: 0,
  nextAtMs: null,
  startedAtMs: null,
  last: null,
  gaveUp: false,
};

export type Health = {
  /** `starting`: no look has succeeded yet, and not too many have failed. */
  readonly status: 'starting' | 'healthy' | 'unhealthy';
  /** Looks that have failed in a row. */
  readonly failures: number;
  /** Why the last look failed; null: it did not. */
  readonly problem: string | null;
};

export type SandboxState = {
  readonly version: 1;
  readonly id: string;
  readonly phase: Phase;
  /** Eight hexadecimal digits that the names of its kernel objects end with. */
  readonly tag: string;
  readonly address: string;
  /** Milliseconds of Unix time when jailor began. */
  readonly startedAtMs: number;
  readonly jailor: ProcessIdentity;
  /** Name of the link's end on the VM. */
  readonly link: string;
  /** Directory on the VM that is the sandbox's root. Null until it is jailor's to remove. */
  readonly root: string | null;
  /** How it has its files, and what its start had to copy for that. Null until they are there. */
  readonly files: RootFiles | null;
  readonly cgroup: Cgroup | null;
  /** Which ids of the VM its users are; no ranges: it has no user namespace. */
  readonly ids: IdMaps;
  /** PID 1 of the sandbox. */
  readonly init: ProcessState | null;
  /** Path that opens the sandbox's network namespace, while the init lives. */
  readonly netns: string | null;
  readonly hatchery: ProcessState | null;
  /** The root process. */
  readonly process: ProcessState | null;
  /** Inodes of the pipes that are standard output and error of the root process; null where they are jailor's own. */
  readonly stdio: { readonly stdout: number; readonly stderr: number } | null;
  readonly exit: Exit | null;
  readonly frozen: boolean;
  readonly moving: boolean;
  readonly restarts: Restarts;
  /** Null: the configuration does not say how to find it out. */
  readonly health: Health | null;
  /** Programs that somebody has started in it for a look (exec) and that have not ended. */
  readonly guests: number;
  /** Descriptors of jailor's that it keeps for a daemon, should that be killed. */
  readonly kept: readonly KeptDescriptor[];
};

/** `descriptor` is a number of jailor's own; whoever may trace jailor copies it (pidfd_getfd). */
export type KeptDescriptor = { readonly name: string; readonly descriptor: number };

export function exitOf(reason: ExitReason, ending: Ending | undefined): Exit {
  return { reason, code: ending?.code ?? null, signal: ending?.signal ?? null };
}

/** A reader sees the old text or the new one, never a part. */
export function writeWhole(path: string, text: string): void {
  const next = `${path}.next`;
  writeFileSync(next, text, { mode: 0o600 });
  renameSync(next, path);
}

export function writeState(path: string, state: SandboxState): void {
  writeWhole(path, `${JSON.stringify(state, undefined, 2)}\n`);
}
