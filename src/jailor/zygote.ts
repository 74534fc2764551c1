/**
 * Where the processes of a sandbox come from. The *zygote* is an idle program of the VM, a child of jailor; its clones are
 * born into the sandbox's namespaces as children of jailor:
 *
 *     jailor ──┬── zygote            on the VM, in the sandbox's cgroup; ended when the sandbox is made
 *              ├── init              its first clone, with all the new namespaces: PID 1
 *              └── seat              its second: the hatchery of a skeleton, or what becomes the root process by execve
 *
 * Init and seat never run anything of the VM but the sleep that they were born in. Everything that a process of the sandbox
 * is (credentials, limits, filter) it becomes by calls that jailor injects, before its program's first instruction.
 */
import { existsSync } from 'node:fs';
import type { ProcessSpec } from '../base/sandbox-config.ts';
import { CLONE } from '../linux/clone-flags.ts';
import { type Credentials, credentialCalls } from '../linux/credentials.ts';
import { EACCES, ENOENT, ENOEXEC, ENOTDIR, KernelError } from '../linux/errno.ts';
import { type IdMaps, writeIdMaps } from '../linux/id-map.ts';
import { StoppedProcess } from '../linux/idle-process.ts';
import { cString } from '../linux/libc.ts';
import { MS } from '../linux/mount.ts';
import { O } from '../linux/open-flags.ts';
import { closeDescriptor } from '../linux/pidfd.ts';
import * as ptrace from '../linux/ptrace.ts';
import { RootDirectory } from '../linux/root-directory.ts';
import { filterHeader } from '../linux/seccomp.ts';
import { SIGNAL } from '../linux/signals.ts';
import { SYS } from '../linux/syscall-numbers.ts';
import type { RemoteCall } from '../linux/tracee.ts';
import { rootOf } from './ids.ts';

const PR_SET_PDEATHSIG = 1;
const PR_SET_SECUREBITS = 28;
/** linux/securebits.h: a change of user ids leaves capabilities alone. */
const SECBIT_NO_SETUID_FIXUP = 1 << 2;
/** An id, for setresuid(2). */
const UNCHANGED = -1;
const SIG_IGN = 1n;
const SIGACTION_BYTES = 32;
const SIGSET_BYTES = 8;
const SECCOMP_SET_MODE_FILTER = 1;
/** Room for an agent and what its calls point at. */
const AGENT_BYTES = 0x20000n;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const POINTER_BYTES = 8;

const END_WITH_PARENT: RemoteCall = {
  what: 'end with its parent',
  number: SYS.prctl,
  args: [PR_SET_PDEATHSIG, SIGNAL.KILL, 0, 0, 0],
};

const OF_A_SANDBOX = CLONE.NEWNS | CLONE.NEWUTS | CLONE.NEWIPC | CLONE.NEWNET | CLONE.NEWPID | CLONE.NEWCGROUP;

/** All but the user namespace. A kernel without time namespaces has one time for all. */
function ofSandbox(): number {
  return OF_A_SANDBOX | (existsSync('/proc/self/ns/time') ? CLONE.NEWTIME : 0);
}

/** PID 1, as a process of its PID namespace names it. */
const INIT = 1;

/**
 * PID 1 of new namespaces. It reaps by ignoring SIGCHLD, and ends with jailor; with it ends everything in the sandbox.
 *
 * @param ids those of a user namespace that owns all the others; without ranges there is none.
 */
export function cloneInit(zygote: number, ids: IdMaps): number {
  const hasUsers = ids.users.length > 0;
  using mould = StoppedProcess.stop(zygote);
  using init = hasUsers
    ? cloneWithUsers(mould, rootOf(ids).uid)
    : mould.clone('make the namespaces', ofSandbox(), null);
  const { thread } = init;
  thread.installAgent();
  if (hasUsers) {
    writeIdMaps(init.pid, ids);
    // Before the death signal, which a change of ids takes away.
    thread.batch(BECOME_ROOT);
  }
  const ignore = Buffer.alloc(SIGACTION_BYTES);
  ignore.writeBigUInt64LE(SIG_IGN, 0);
  thread.batch([
    { what: 'leave jailor’s session', number: SYS.setsid, args: [] },
    { what: 'ignore SIGCHLD', number: SYS.rt_sigaction, args: [SIGNAL.CHLD, thread.put(ignore), 0, SIGSET_BYTES] },
    END_WITH_PARENT,
  ]);
  thread.removeAgent();
  return init.pid;
}

/**
 * A user namespace is its maker's, by the effective user, and what its processes use up of what the kernel counts by user
 * (inotify instances, message queues, pending signals and timers) counts for that user, too (user_namespaces(7), and
 * inc_ucount in kernel/ucount.c). So its owner is not root of the VM, which would have nothing left for itself and for other
 * sandboxes, but the user that is root inside.
 */
function cloneWithUsers(mould: StoppedProcess, owner: number): StoppedProcess {
  const { thread } = mould;
  // A kernel may ask for capabilities to make a user namespace; so they stay.
  thread.call('keep its capabilities', SYS.prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0);
  thread.call('become the owner of the namespaces', SYS.setresuid, UNCHANGED, owner, UNCHANGED);
  const init = mould.clone('make the namespaces', ofSandbox() | CLONE.NEWUSER, null);
  thread.call('become root of the VM again', SYS.setresuid, UNCHANGED, 0, UNCHANGED);
  thread.call('keep them no longer', SYS.prctl, PR_SET_SECUREBITS, 0, 0, 0, 0);
  // A change of ids has taken it away.
  const { what, number, args } = END_WITH_PARENT;
  thread.call(what, number, ...args);
  return init;
}

/** As root of the VM a process has no ids in a namespace that it has made or entered. */
const BECOME_ROOT: readonly RemoteCall[] = [
  { what: 'give up all groups', number: SYS.setgroups, args: [0, 0] },
  { what: 'become group 0 inside', number: SYS.setresgid, args: [0, 0, 0] },
  { what: 'become root inside', number: SYS.setresuid, args: [0, 0, 0] },
];

/** A clone in the namespaces of the init, stopped. The zygote can be ended then. @param pid inside; null: the next one. */
export function cloneSeat(zygote: number, init: number, pid: number | null): StoppedProcess {
  using mould = StoppedProcess.stop(zygote);
  const { thread } = mould;
  const pidfd = thread.call('open the init', SYS.pidfd_open, init, 0);
  thread.call('join the namespaces', SYS.setns, pidfd, ofSandbox());
  thread.call('close the init', SYS.close, pidfd);
  const seat = mould.clone('make a process', 0, pid);
  seat.thread.installAgent(AGENT_BYTES);
  seat.thread.call('begin a session', SYS.setsid);
  return seat;
}

/** procfs shows the PID namespace of who mounts it, and jailor is not in it. @param target as the seat reaches it. */
export function mountProc({ thread }: StoppedProcess, target: string): void {
  const mark = thread.agent.mark();
  const [name, path] = [thread.put(cString('proc')), thread.put(cString(target))];
  thread.call(`mount procfs at ${target}`, SYS.mount, name, path, name, MS.NOSUID | MS.NODEV | MS.NOEXEC, 0);
  thread.agent.release(mark);
}

/**
 * Until now the seat is root of the VM in namespaces of a sandbox, and reaches the VM's files; afterwards it is root of the
 * sandbox alone. To be called when all is mounted.
 */
export function enterUserNamespace({ thread }: StoppedProcess): void {
  const pidfd = thread.call('open the init', SYS.pidfd_open, INIT, 0);
  thread.call('enter the user namespace', SYS.setns, pidfd, CLONE.NEWUSER);
  thread.call('close the init', SYS.close, pidfd);
  thread.batch(BECOME_ROOT);
}

/** The seat as the hatchery: asleep, with all its privileges, for the engine that comes. */
export function leaveAsleep(seat: StoppedProcess): void {
  seat.thread.removeAgent();
  seat.release();
}

/**
 * Makes the seat the root process: everything is taken from it, then it executes the program. On success it runs.
 *
 * @param options `endsWithStarter`: it is killed when the thread ends that has made it.
 * @throws Error with the reason why the program cannot be executed; the seat is stopped then.
 */
export function becomeRootProcess(
  seat: StoppedProcess,
  spec: ProcessSpec,
  credentials: Credentials,
  filter: Uint8Array,
  { endsWithStarter = false }: { readonly endsWithStarter?: boolean } = {},
): void {
  const { thread } = seat;
  const { workingDirectory } = spec;
  const went = Number(thread.tryCall(SYS.chdir, thread.put(cString(workingDirectory))));
  if (went === -ENOTDIR) throw new Error(`the working directory ${workingDirectory} is not a directory`);
  if (went < 0) throw new KernelError(`the working directory ${workingDirectory}`, -went);
  const calls: RemoteCall[] = [
    ...credentialCalls(thread, credentials),
    // Behind the credentials: a change of the user takes it back (prctl(2)).
    ...(endsWithStarter ? [END_WITH_PARENT] : []),
    // Last: it does not apply to what is done before it, and the one call behind it, execve, it allows.
    {
      what: 'put the filter of system calls on',
      number: SYS.seccomp,
      args: [SECCOMP_SET_MODE_FILTER, 0, thread.put(filterHeader(filter, thread.put(filter)))],
    },
  ];
  thread.batch(calls);
  const environment = Object.entries(spec.environment).map(([name, value]) => `${name}=${value}`);
  const strings = [spec.executable, ...spec.arguments, ...environment].map(cString);
  const { block, argv, envp } = layOut(strings, 1 + spec.arguments.length);
  const room = [0, block.length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0];
  const at = thread.call('make room for the arguments', SYS.mmap, ...room);
  thread.process.memory.write(at, relocate(block, strings.length + 2, at));
  try {
    thread.exec(`execute ${spec.executable}`, at + BigInt(block.length - total(strings)), at + argv, at + envp);
  } catch (cause) {
    if (!(cause instanceof KernelError)) throw cause;
    throw new Error(`${spec.executable}: ${whyNot(cause, seat.pid, spec.executable)}`, { cause });
  }
  ptrace.setSignalMask(seat.pid, 0n);
  seat.release();
}

const total = (strings: readonly Buffer[]): number => strings.reduce((sum, { length }) => sum + length, 0);

/** Two lists of pointers (relative to the block), each with its null pointer, and the strings behind them. */
function layOut(strings: readonly Buffer[], argumentCount: number): { block: Buffer; argv: bigint; envp: bigint } {
  const pointerCount = strings.length + 2;
  const block = Buffer.alloc(pointerCount * POINTER_BYTES + total(strings));
  let offset = pointerCount * POINTER_BYTES;
  let slot = 0;
  for (const [index, text] of strings.entries()) {
    if (index === argumentCount) slot++;
    block.writeBigUInt64LE(BigInt(offset), slot++ * POINTER_BYTES);
    text.copy(block, offset);
    offset += text.length;
  }
  return { block, argv: 0n, envp: BigInt((argumentCount + 1) * POINTER_BYTES) };
}

function relocate(block: Buffer, pointerCount: number, at: bigint): Buffer {
  for (let slot = 0; slot < pointerCount; slot++) {
    const offset = block.readBigUInt64LE(slot * POINTER_BYTES);
    if (offset !== 0n) block.writeBigUInt64LE(at + offset, slot * POINTER_BYTES);
  }
  return block;
}

function whyNot(cause: KernelError, pid: number, executable: string): string {
  switch (cause.errno) {
    case ENOENT:
      if (isThere(pid, executable)) return 'its interpreter or dynamic linker is not in the sandbox';
      return 'it is not in the sandbox';
    case EACCES:
      return 'its user may not execute it, or it lies on a mount that programs cannot be executed on (EACCES)';
    case ENOEXEC:
      return 'it is neither a program for this machine nor a script (ENOEXEC)';
    default:
      return cause.message;
  }
}

function isThere(pid: number, path: string): boolean {
  using root = new RootDirectory(pid);
  const found = root.openIfThere(path, O.PATH);
  if (found !== null) closeDescriptor(found);
  return found !== null;
}
