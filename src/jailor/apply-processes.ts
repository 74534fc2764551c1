/** The processes of a sandbox under construction that its zygote makes: init and seat. zygote.ts has the picture. */
import { writeFileSync } from 'node:fs';
import { defined } from '../base/assert.ts';
import type { IdMaps } from '../linux/id-map.ts';
import { closeFd, inNetns, openNetns } from '../linux/netns.ts';
import { RouteSocket } from '../linux/rtnetlink/index.ts';
import { getLimits, setLimit } from '../linux/scheduling.ts';
import { kept } from './apply-containment.ts';
import { adoptedChild, type Child } from './child.ts';
import type { Construction } from './construction.ts';
import { namespaceRefused } from './no-user-namespace.ts';
import type { Operation } from './operations.ts';
import { credentialsOf, type Privileges, rlimitNumber, USUAL_DESCRIPTORS } from './privileges.ts';
import { awaitIdle } from './programs.ts';
import { seccompProgram } from './system-calls.ts';
import { becomeRootProcess, cloneInit, cloneSeat, enterUserNamespace, leaveAsleep } from './zygote.ts';

/** The init, and with it the namespaces; and what jailor does the network with. */
export async function makeNamespaces(construction: Construction, ids: IdMaps): Promise<void> {
  // Init and seat are born where the zygote is, and its cgroup becomes the root of their cgroup namespace.
  await construction.joined();
  const zygote = defined(construction.zygote, 'the zygote');
  awaitIdle(zygote);
  const init = adoptedChild(cloneWithNamespaces(zygote, ids));
  construction.init = kept(construction, 'end the init', init);
  const netnsFd = openNetns({ pid: init.hostPid });
  construction.cleanup.defer('let go of the network namespace', () => closeFd(netnsFd));
  const vm = new RouteSocket();
  construction.cleanup.defer('close a netlink socket', () => vm.close());
  const sandbox = inNetns(netnsFd, () => new RouteSocket());
  construction.cleanup.defer('close a netlink socket', () => sandbox.close());
  construction.network = { netnsFd, sockets: { vm, sandbox } };
}

function cloneWithNamespaces(zygote: Child, ids: IdMaps): number {
  try {
    return cloneInit(zygote.hostPid, ids);
  } catch (cause) {
    throw (ids.users.length > 0 ? namespaceRefused(cause) : undefined) ?? cause;
  }
}

export function startSeat(construction: Construction, pid: number | null): void {
  const { zygote, init } = construction;
  const seat = cloneSeat(defined(zygote, 'the zygote').hostPid, defined(init, 'the init').hostPid, pid);
  construction.seat = seat;
  construction.seatChild = kept(construction, 'end the process', adoptedChild(seat.pid));
  construction.cleanup.defer('let go of the process', () => seat.release());
}

export function enterUsers(construction: Construction): void {
  enterUserNamespace(defined(construction.seat, 'the seat'));
}

export function keepHatchery(construction: Construction): void {
  leaveAsleep(defined(construction.seat, 'the seat'));
  construction.hatchery = construction.seatChild;
}

/** @throws Error with the reason why the program cannot be executed. */
export function startProcess(
  construction: Construction,
  { process, privileges }: Extract<Operation, { kind: 'start-process' }>,
): void {
  const seat = defined(construction.seat, 'the seat');
  limitProcess(seat.pid, privileges);
  becomeRootProcess(seat, process, credentialsOf(privileges), seccompProgram(privileges));
  construction.process = construction.seatChild;
}

/** From outside, while the process is still its own master. */
export function limitProcess(pid: number, { rlimits, oomScoreAdjust }: Privileges): void {
  const descriptors = rlimitNumber('nofile');
  const hard = getLimits(pid)[descriptors]?.hard ?? BigInt(USUAL_DESCRIPTORS);
  const soft = BigInt(USUAL_DESCRIPTORS);
  setLimit(pid, descriptors, { soft: soft < hard ? soft : hard, hard });
  for (const [name, limit] of Object.entries(rlimits))
    setLimit(pid, rlimitNumber(name), { soft: BigInt(limit.soft), hard: BigInt(limit.hard) });
  if (oomScoreAdjust !== 0) writeFileSync(`/proc/${pid}/oom_score_adj`, String(oomScoreAdjust));
}
