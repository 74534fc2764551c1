/** What belongs to the process as a whole: names, limits, switches. */
import { ComicranError } from '../base/errors.ts';
import type { PlatformImage, ProcessRecord } from '../image/types.ts';
import { CLOCK, readClockNanos } from '../linux/clocks.ts';
import type { IdMaps } from '../linux/id-map.ts';
import type { KernelFacts } from '../linux/kernel-facts.ts';
import { readProc, readProcLink, type StatusFile } from '../linux/procfs.ts';
import { getLimits } from '../linux/scheduling.ts';
import { readFilters } from '../linux/seccomp.ts';
import { SYS } from '../linux/syscall-numbers.ts';
import { readClockOffsets } from '../linux/time-namespace.ts';
import type { RemoteCall, Tracee } from '../linux/tracee.ts';
import type { Question } from './question.ts';

const PR_GET_DUMPABLE = 3;
const PR_GET_CHILD_SUBREAPER = 37;
const PR_GET_THP_DISABLE = 42;
const ARCH_GET_XCOMP_PERM = 0x1022;
const MODIFY_LDT_READ = 0;
const LDT_ENTRY_BYTES = 8;

/** What only the process itself can tell, or a clone of it. */
export type OwnState = {
  readonly brk: bigint;
  readonly dumpable: boolean;
  readonly transparentHugePagesDisabled: boolean;
  readonly grantedStateMask: bigint;
};

export function ownState(main: Tracee): Question<OwnState> {
  const at = main.agent.reserve(32);
  const call = (what: string, number: number, args: RemoteCall['args'], mayFail = false): RemoteCall => ({
    what: `read the ${what}`,
    number,
    args,
    mayFail,
  });
  return {
    calls: [
      call('end of the heap', SYS.brk, [0]),
      call('dumpable flag', SYS.prctl, [PR_GET_DUMPABLE, 0, 0, 0, 0]),
      call('huge page switch', SYS.prctl, [PR_GET_THP_DISABLE, 0, 0, 0, 0]),
      // Unknown to kernels before 5.16, and where there are no local descriptor tables.
      call('granted state', SYS.arch_prctl, [ARCH_GET_XCOMP_PERM, at + 8n], true),
      call('local descriptor table', SYS.modify_ldt, [MODIFY_LDT_READ, at + 16n, LDT_ENTRY_BYTES], true),
    ],
    answer: ([brk, dumpable, hugePages, granted, localDescriptors]) => {
      if (localDescriptors! > 0n)
        throw new ComicranError('process.unsupported', `process ${main.process.pid} has a local descriptor table`);
      const bytes = main.read(at, 16);
      return {
        brk: brk!,
        dumpable: dumpable === 1n,
        transparentHugePagesDisabled: hugePages !== 0n,
        grantedStateMask: granted === 0n ? bytes.readBigUInt64LE(8) : 0n,
      };
    },
  };
}

const P_ALL = 0;
const ECHILD_RESULT = -10n;
/** WNOHANG, WSTOPPED, WEXITED, WCONTINUED, WNOWAIT, __WALL: whatever children there are, and they stay as they are. */
const ANY_CHILD = 1 | 2 | 4 | 8 | 0x0100_0000 | 0x4000_0000;

/** Whether a process has children, zombies included; that of /proc would take a file for each thread. */
export function hasChildren(): Question<boolean> {
  return {
    calls: [{ what: 'look for children', number: SYS.waitid, args: [P_ALL, 0, 0, ANY_CHILD, 0], mayFail: true }],
    answer: ([result]) => result !== ECHILD_RESULT,
  };
}

/** What a clone does not have from the process. */
export function isSubreaper(main: Tracee): Question<boolean> {
  const at = main.agent.reserve(16);
  return {
    calls: [{ what: 'read the subreaper flag', number: SYS.prctl, args: [PR_GET_CHILD_SUBREAPER, at, 0, 0, 0] }],
    answer: () => main.read(at, 4).readInt32LE(0) !== 0,
  };
}

/**
 * @param pid the process, or a clone of it.
 * @param status of the main thread. @param seccompFilters what is read of a thread that is traced.
 */
export function captureProcess(
  pid: number,
  status: StatusFile,
  own: OwnState & { readonly childSubreaper: boolean },
  ids: IdMaps,
  seccompFilters = captureFilters(pid, status),
): ProcessRecord {
  return {
    pid: status.innermost('NSpid'),
    processGroup: status.innermost('NSpgid'),
    session: status.innermost('NSsid'),
    executable: readProcLink(pid, 'exe'),
    workingDirectory: readProcLink(pid, 'cwd'),
    umask: Number.parseInt(status.text('Umask'), 8),
    personality: Number.parseInt(readProc(pid, 'personality'), 16),
    dumpable: own.dumpable,
    childSubreaper: own.childSubreaper,
    transparentHugePagesDisabled: own.transparentHugePagesDisabled,
    oomScoreAdjust: Number(readProc(pid, 'oom_score_adj')),
    grantedStateMask: own.grantedStateMask,
    seccompFilters,
    limits: getLimits(pid),
    ids,
  };
}

function captureFilters(pid: number, status: StatusFile): Buffer[] {
  if (status.text('Seccomp') === '0') return [];
  const filters = readFilters(pid);
  if (filters === null)
    throw new ComicranError('process.unsupported', `the seccomp filters of process ${pid} cannot be read`, {
      hint: 'That needs CAP_SYS_ADMIN, a reader without filters, and a kernel with CONFIG_CHECKPOINT_RESTORE.',
    });
  return filters;
}

/** Where the kernel writes XCR0 into the software-reserved bytes of an XSAVE area. */
const STATE_MASK_OFFSET = 464;

/** What the clocks of this machine show, in nanoseconds. */
export type Clocks = { readonly realtime: bigint; readonly monotonic: bigint; readonly boottime: bigint };

export function readClocks(): Clocks {
  return {
    realtime: readClockNanos(CLOCK.REALTIME),
    monotonic: readClockNanos(CLOCK.MONOTONIC),
    boottime: readClockNanos(CLOCK.BOOTTIME),
  };
}

/**
 * @param pid the process, or a clone of it. @param extendedState of any of its threads. @param clocks at the moment of the
 *   image.
 */
export function capturePlatform(
  pid: number,
  facts: KernelFacts,
  extendedState: Uint8Array,
  clocks: Clocks,
): PlatformImage {
  const offsets = readClockOffsets(pid);
  const bytes = Buffer.from(extendedState.buffer, extendedState.byteOffset, extendedState.byteLength);
  return {
    kernelRelease: facts.release,
    kernelVersion: facts.version,
    vdsoDigest: facts.vdsoDigest,
    cpuFeatures: facts.cpuFeatures,
    extendedStateMask: bytes.readBigUInt64LE(STATE_MASK_OFFSET),
    bootId: facts.bootId,
    realtimeNanos: clocks.realtime,
    monotonicNanos: clocks.monotonic + offsets.monotonicNanos,
    boottimeNanos: clocks.boottime + offsets.boottimeNanos,
  };
}
