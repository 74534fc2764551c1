/**
 * A sketch of a process that runs: what a destination can build of it before the process is stopped. It looks like an image,
 * and only what takes long to build is true in it: areas, descriptors, threads by their ids, names and places. Nothing of the
 * process is touched. What has changed until the stop is found out by comparing with the image.
 */
import { emptied } from '../image/descriptors/emptied.ts';
import type { DescriptionImage, DescriptorTableImage } from '../image/descriptors/types.ts';
import type { CredentialsImage, IntervalTimer, ProcessImage, ThreadImage } from '../image/types.ts';
import { O } from '../linux/open-flags.ts';
import { askThreads, readStatus } from '../linux/procfs.ts';
import { captureTable } from './descriptors/capture.ts';
import { captureAddressSpace } from './memory.ts';
import { capturePlatform, captureProcess, readClocks } from './process.ts';
import type { SourceTools } from './source.ts';

const REGISTERS_BYTES = 216;
const EXTENDED_STATE_BYTES = 576;
const ACTIONS_BYTES = 64 * 32;

/** What of the main thread and of the process only they themselves can tell. */
const UNKNOWN_STATE = { dumpable: false, transparentHugePagesDisabled: false, grantedStateMask: 0n } as const;

const NO_CREDENTIALS: CredentialsImage = {
  userIds: [0, 0, 0, 0],
  groupIds: [0, 0, 0, 0],
  groups: [],
  capabilities: { inheritable: 0n, permitted: 0n, effective: 0n, bounding: 0n, ambient: 0n },
  secureBits: 0,
  noNewPrivileges: false,
};

/** @throws ComicranError process.unsupported, KernelError where it has ended */
export function sketchProcess(tools: SourceTools): ProcessImage {
  const { pid, facts, ids, surveyor } = tools;
  surveyor.prepare(false);
  const survey = surveyor.survey();
  const status = readStatus(pid);
  const own = { ...UNKNOWN_STATE, brk: 0n, childSubreaper: false };
  const nothing = Buffer.alloc(EXTENDED_STATE_BYTES);
  const timer: IntervalTimer = { remainingMicros: 0n, intervalMicros: 0n };
  return {
    platform: capturePlatform(pid, facts, nothing, readClocks()),
    process: captureProcess(pid, status, own, ids, []),
    memory: { ...captureAddressSpace(pid, survey, own.brk), pageBytes: 0n },
    signals: { actions: Buffer.alloc(ACTIONS_BYTES), pending: [] },
    timers: { posix: [], intervals: [timer, timer, timer] },
    threads: sketchThreads(pid),
    descriptors: sketchDescriptors(tools),
  };
}

function sketchThreads(pid: number): ThreadImage[] {
  const tids = askThreads(pid, (tid) => readStatus(pid, tid).innermost('NSpid'));
  return tids.map((tid) => ({
    tid,
    name: Buffer.alloc(0),
    registers: Buffer.alloc(REGISTERS_BYTES),
    extendedState: Buffer.alloc(0),
    signalMask: 0n,
    alternateStack: { address: 0n, flags: 0, size: 0n },
    rseq: { address: 0n, size: 0, signature: 0, flags: 0 },
    robustList: { head: 0n, length: 0n },
    clearTidAddress: 0n,
    parentDeathSignal: 0,
    timerSlackNanos: 0n,
    pendingSignals: [],
    credentials: NO_CREDENTIALS,
    scheduling: { policy: 0, resetOnFork: false, nice: 0, priority: 0, affinity: Buffer.alloc(0) },
  }));
}

/** All of them, or none: where there are such that leave something behind in the sandbox when they are made twice. */
function sketchDescriptors({ pid, pidfd, inherited, ids }: SourceTools): DescriptorTableImage {
  // What it has written is not looked at: files of its own are refused here, and made in the stop.
  const { table, refusals } = captureTable({ pid, pidfd, threads: [], inherited, written: [], ids, running: true });
  const isPlain = table.carriedFiles.length === 0 && table.pipes.every(({ path }) => path === null);
  if (refusals.length === 0 && isPlain && table.descriptions.every(canBeMadeBefore)) return emptied(table);
  return { descriptors: [], descriptions: [], pipes: [], carriedFiles: [] };
}

function canBeMadeBefore(image: DescriptionImage): boolean {
  switch (image.kind) {
    case 'device':
    case 'inherited':
    case 'eventfd':
    case 'epoll':
    case 'signalfd':
      return true;
    case 'pipe':
      return (image.flags & O.DIRECT) === 0;
    case 'file':
      return image.locks.length === 0;
    case 'udp-socket':
      return image.memberships.length === 0;
    default:
      return false;
  }
}
