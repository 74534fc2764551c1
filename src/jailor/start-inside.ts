/**
 * Starts a program in a sandbox that is there: the root process once more, a health command, a guest of an operator. It is
 * born as the first root process was (zygote.ts), in the sandbox's cgroup and namespaces, and becomes what it is before its
 * first instruction: user, no capabilities, limits, filter.
 */
import type { ProcessSpec } from '../base/sandbox-config.ts';
import { type Cgroup, moveSoon } from '../linux/cgroup.ts';
import type { IdMaps } from '../linux/id-map.ts';
import type { StoppedProcess } from '../linux/idle-process.ts';
import { limitProcess } from './apply-processes.ts';
import { adoptedChild, type Child, killed } from './child.ts';
import { credentialsOf, type Privileges } from './privileges.ts';
import { processState } from './process-state.ts';
import { awaitIdle, type StdioFds, startZygote } from './programs.ts';
import type { ProcessState } from './state.ts';
import { seccompProgram } from './system-calls.ts';
import { becomeRootProcess, cloneSeat, enterUserNamespace } from './zygote.ts';

export type Inside = {
  /** PID 1 of the sandbox, as this program sees it. */
  readonly initPid: number;
  readonly cgroup: Cgroup;
  /** Of its user namespace; no ranges: it has none. */
  readonly ids: IdMaps;
  readonly stdio: StdioFds;
  /** Told of every child of this program that is made on the way, as soon as it is there. */
  readonly known?: (child: Child) => void;
  /** Descriptors that the process has from 3 on until it executes its program. */
  readonly inherited?: readonly number[];
  /** Called with the process while it is still root of the VM; the calls that it injects are made in the sandbox. */
  readonly prepare?: (seat: StoppedProcess) => void;
  /** The process ends with the thread that has started it. */
  readonly endsWithStarter?: true;
};

/** A child of this program that has begun to run. It may have ended since. */
export type StartedInside = { readonly child: Child; readonly state: ProcessState };

/**
 * @returns the process, which runs, a child of this program.
 * @throws Error with the reason why the program cannot be executed; ComicranError. Nothing is left then.
 */
export async function startInside(
  inside: Inside,
  process: ProcessSpec,
  privileges: Privileges,
): Promise<StartedInside> {
  const zygote = startZygote(inside.stdio, inside.inherited);
  inside.known?.(zygote);
  try {
    // What it clones is born where it is.
    await moveSoon(zygote.hostPid, inside.cgroup);
    awaitIdle(zygote);
    const seat = cloneSeat(zygote.hostPid, inside.initPid, null);
    const state = processState({ hostPid: seat.pid });
    const child = adoptedChild(seat.pid);
    inside.known?.(child);
    try {
      inside.prepare?.(seat);
      if (inside.ids.users.length > 0) enterUserNamespace(seat);
      limitProcess(seat, privileges);
      const { endsWithStarter = false } = inside;
      becomeRootProcess(seat, process, credentialsOf(privileges), seccompProgram(privileges), { endsWithStarter });
    } catch (thrown) {
      seat.release();
      await killed(child);
      throw thrown;
    }
    return { child, state };
  } finally {
    await killed(zygote);
  }
}
