import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { readExact, readPid, readSignals, readUpTo } from '../fields.ts';
import type { CredentialsImage, SchedulingImage, ThreadImage } from '../types.ts';

export const THREADS_VERSION = 1;
const MAX_THREADS = 1 << 15;
const REGISTERS_BYTES = 216;
const MAX_STATE_BYTES = 1 << 16;
const MAX_GROUPS = 1 << 16;
const MAX_CPU_BYTES = 1024;

export function writeThreads(writer: ByteWriter, threads: readonly ThreadImage[]): void {
  writer.list(threads, (thread) => writeThread(writer, thread));
}

export function readThreads(reader: ByteReader): ThreadImage[] {
  const threads = reader.list(() => readThread(reader), MAX_THREADS);
  if (threads.length === 0) reader.fail('a process without threads');
  if (new Set(threads.map(({ tid }) => tid)).size !== threads.length) reader.fail('two threads of one TID');
  return threads;
}

function writeThread(writer: ByteWriter, thread: ThreadImage): void {
  const { alternateStack, rseq, robustList, scheduling } = thread;
  writer.u32(thread.tid).bytes(thread.name).bytes(thread.registers).bytes(thread.extendedState);
  writer.u64(thread.signalMask);
  writer.u64(alternateStack.address).u32(alternateStack.flags).u64(alternateStack.size);
  writer.u64(rseq.address).u32(rseq.size).u32(rseq.signature).u32(rseq.flags);
  writer.u64(robustList.head).u64(robustList.length);
  writer.u64(thread.clearTidAddress).u32(thread.parentDeathSignal).u64(thread.timerSlackNanos);
  writer.list(thread.pendingSignals, (info) => writer.bytes(info));
  writeCredentials(writer, thread.credentials);
  writer.u32(scheduling.policy).bool(scheduling.resetOnFork).i32(scheduling.nice).u32(scheduling.priority);
  writer.bytes(scheduling.affinity);
}

function readThread(reader: ByteReader): ThreadImage {
  return {
    tid: readPid(reader, 'TID'),
    name: reader.bytes(15),
    registers: readExact(reader, REGISTERS_BYTES, 'registers'),
    extendedState: reader.bytes(MAX_STATE_BYTES),
    signalMask: reader.u64(),
    alternateStack: { address: reader.u64(), flags: reader.u32(), size: reader.u64() },
    rseq: { address: reader.u64(), size: reader.u32(), signature: reader.u32(), flags: reader.u32() },
    robustList: { head: reader.u64(), length: reader.u64() },
    clearTidAddress: reader.u64(),
    parentDeathSignal: readUpTo(reader, 64, 'parent death signal'),
    timerSlackNanos: reader.u64(),
    pendingSignals: readSignals(reader),
    credentials: readCredentials(reader),
    scheduling: readScheduling(reader),
  };
}

function writeCredentials(writer: ByteWriter, image: CredentialsImage): void {
  for (const id of [...image.userIds, ...image.groupIds]) writer.u32(id);
  writer.list(image.groups, (group) => writer.u32(group));
  const { inheritable, permitted, effective, bounding, ambient } = image.capabilities;
  for (const set of [inheritable, permitted, effective, bounding, ambient]) writer.u64(set);
  writer.u32(image.secureBits).bool(image.noNewPrivileges);
}

function readCredentials(reader: ByteReader): CredentialsImage {
  return {
    userIds: [reader.u32(), reader.u32(), reader.u32(), reader.u32()],
    groupIds: [reader.u32(), reader.u32(), reader.u32(), reader.u32()],
    groups: reader.list(() => reader.u32(), MAX_GROUPS),
    capabilities: {
      inheritable: reader.u64(),
      permitted: reader.u64(),
      effective: reader.u64(),
      bounding: reader.u64(),
      ambient: reader.u64(),
    },
    secureBits: reader.u32(),
    noNewPrivileges: reader.bool(),
  };
}

function readScheduling(reader: ByteReader): SchedulingImage {
  const image = {
    policy: readUpTo(reader, 7, 'scheduling policy'),
    resetOnFork: reader.bool(),
    nice: reader.i32(),
    priority: readUpTo(reader, 99, 'priority'),
    affinity: reader.bytes(MAX_CPU_BYTES),
  };
  if (image.nice < -20 || image.nice > 19) reader.fail(`nice value ${image.nice}`);
  return image;
}
