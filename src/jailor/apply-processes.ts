/** The processes of a sandbox under construction that its zygote makes: init and seat. zygote.ts has the picture. */
import { readFileSync, writeFileSync } from 'node:fs';
import { defined } from '../base/assert.ts';
import { changeLimit } from '../linux/change-limit.ts';
import type { IdMaps } from '../linux/id-map.ts';
import type { StoppedProcess } from '../linux/idle-process.ts';
import { closeFd, inNetns, openNetns } from '../linux/netns.ts';
import { RouteSocket } from '../linux/rtnetlink/index.ts';
import { getLimits } from '../linux/scheduling.ts';
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
  limitProcess(seat, privileges);
  becomeRootProcess(seat, process, credentialsOf(privileges), seccompProgram(privileges));
  construction.process = construction.seatChild;
}

/** While the process is still its own master. */
export function limitProcess({ pid, thread }: StoppedProcess, { rlimits, oomScoreAdjust }: Privileges): void {
  const descriptors = rlimitNumber('nofile');
  const hard = getLimits(pid)[descriptors]?.hard ?? BigInt(USUAL_DESCRIPTORS);
  const soft = BigInt(USUAL_DESCRIPTORS);
  changeLimit(thread, descriptors, { soft: soft < hard ? soft : hard, hard });
  for (const [name, limit] of Object.entries(rlimits))
    changeLimit(thread, rlimitNumber(name), { soft: BigInt(limit.soft), hard: BigInt(limit.hard) });
  adjustOutOfMemoryScore(pid, oomScoreAdjust);
}

/** Where nothing is declared it does not have jailor's own, which may be that of a service that is to be spared. */
function adjustOutOfMemoryScore(pid: number, wanted: number): void {
  const path = `/proc/${pid}/oom_score_adj`;
  if (wanted !== 0 || Number(readFileSync(path, 'latin1')) < 0) writeFileSync(path, String(wanted));
}
