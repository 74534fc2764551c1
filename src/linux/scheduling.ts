/** Scheduling of threads and limits of processes, from outside. */
import { KernelError } from './errno.ts';
import { syscall, trySyscall } from './libc.ts';
import { readProc } from './procfs.ts';
import { SYS } from './syscall-numbers.ts';

/** struct sched_attr of linux/sched/types.h, without the clamps of SCHED_FLAG_UTIL_CLAMP. */
const ATTRIBUTE_BYTES = 48;
const FLAG_RESET_ON_FORK = 1;
const MAX_CPU_BYTES = 1024;

export type SchedulingAttributes = {
  /** SCHED_* of linux/sched.h. */
  readonly policy: number;
  readonly resetOnFork: boolean;
  readonly nice: number;
  /** 1 to 99 for SCHED_FIFO and SCHED_RR, else 0. */
  readonly priority: number;
};

const attribute = Buffer.alloc(ATTRIBUTE_BYTES);

export function getScheduling(tid: number): SchedulingAttributes {
  syscall(`sched_getattr of thread ${tid}`, SYS.sched_getattr, tid, attribute, attribute.length, 0);
  return {
    policy: attribute.readUInt32LE(4),
    resetOnFork: (attribute.readUInt32LE(8) & FLAG_RESET_ON_FORK) !== 0,
    nice: attribute.readInt32LE(16),
    priority: attribute.readUInt32LE(20),
  };
}

export function setScheduling(tid: number, { policy, resetOnFork, nice, priority }: SchedulingAttributes): void {
  attribute.fill(0);
  attribute.writeUInt32LE(ATTRIBUTE_BYTES, 0);
  attribute.writeUInt32LE(policy, 4);
  attribute.writeUInt32LE(resetOnFork ? FLAG_RESET_ON_FORK : 0, 8);
  attribute.writeInt32LE(nice, 16);
  attribute.writeUInt32LE(priority, 20);
  syscall(`sched_setattr of thread ${tid}`, SYS.sched_setattr, tid, attribute, 0);
}

const cpus = Buffer.alloc(MAX_CPU_BYTES);

/** The CPUs a thread may run on, bit n of byte n/8. `tid` 0: the calling thread. */
export function getAffinity(tid: number): Buffer {
  const length = syscall(`sched_getaffinity of thread ${tid}`, SYS.sched_getaffinity, tid, cpus.length, cpus);
  return Buffer.from(cpus.subarray(0, length));
}

/** @returns false when none of the CPUs is one that the thread may use. */
export function setAffinity(tid: number, mask: Uint8Array): boolean {
  const result = trySyscall(SYS.sched_setaffinity, tid, mask.length, mask);
  if (result < 0 && result !== -22) throw new KernelError(`sched_setaffinity of thread ${tid}`, -result);
  return result >= 0;
}

/** The CPU that the calling thread is on. */
export function currentCpu(): number {
  syscall('getcpu', SYS.getcpu, cpus, null, null);
  return cpus.readUInt32LE(0);
}

/** The CPUs of a mask, ascending. */
export function cpusOf(mask: Uint8Array): number[] {
  const bits = [0, 1, 2, 3, 4, 5, 6, 7];
  return [...mask].flatMap((byte, at) => bits.filter((bit) => (byte >>> bit) & 1).map((bit) => at * 8 + bit));
}

/** A mask of one CPU. */
export function singleCpu(cpu: number): Buffer {
  const mask = Buffer.alloc(Math.max(8, ((cpu >> 6) + 1) * 8));
  mask[cpu >> 3] = 1 << (cpu & 7);
  return mask;
}

export type ResourceLimit = { readonly soft: bigint; readonly hard: bigint };
const UNLIMITED = 0xffff_ffff_ffff_ffffn;

/** The limits in the order of asm-generic/resource.h, as /proc/PID/limits shows them. */
const RESOURCE_LINES = [
  'Max cpu time',
  'Max file size',
  'Max data size',
  'Max stack size',
  'Max core file size',
  'Max resident set',
  'Max processes',
  'Max open files',
  'Max locked memory',
  'Max address space',
  'Max file locks',
  'Max pending signals',
  'Max msgqueue size',
  'Max nice priority',
  'Max realtime priority',
  'Max realtime timeout',
] as const;

/** From procfs: prlimit(2) would need CAP_SYS_RESOURCE for a process of another user. */
export function getLimits(pid: number): ResourceLimit[] {
  const lines = readProc(pid, 'limits').split('\n');
  return RESOURCE_LINES.map((name) => {
    const line = lines.find((candidate) => candidate.startsWith(name));
    const [soft, hard] = (line ?? '').slice(name.length).trim().split(/\s+/);
    const amount = (text: string | undefined): bigint => (text === 'unlimited' ? UNLIMITED : BigInt(text ?? ''));
    return { soft: amount(soft), hard: amount(hard) };
  });
}

/** struct rlimit64 */
export function encodeLimit({ soft, hard }: ResourceLimit): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(soft, 0);
  bytes.writeBigUInt64LE(hard, 8);
  return bytes;
}

export function setLimit(pid: number, resource: number, limit: ResourceLimit): void {
  syscall(`prlimit ${resource} of process ${pid}`, SYS.prlimit64, pid, resource, encodeLimit(limit), null);
}

const robust = Buffer.alloc(16);
/** The list of robust futexes that a thread has registered. */
export function getRobustList(tid: number): { readonly head: bigint; readonly length: bigint } {
  syscall(`get_robust_list of thread ${tid}`, SYS.get_robust_list, tid, robust, robust.subarray(8));
  return { head: robust.readBigUInt64LE(0), length: robust.readBigUInt64LE(8) };
}
