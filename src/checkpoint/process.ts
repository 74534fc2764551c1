/** What belongs to the process as a whole: names, limits, switches. */
import { ComicranError } from '../base/errors.ts';
import type { PlatformImage, ProcessRecord } from '../image/types.ts';
import { CLOCK, readClockNanos } from '../linux/clocks.ts';
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

/** What only the process itself can tell. */
export type OwnState = {
  readonly brk: bigint;
  readonly dumpable: boolean;
  readonly childSubreaper: boolean;
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
      call('subreaper flag', SYS.prctl, [PR_GET_CHILD_SUBREAPER, at, 0, 0, 0]),
      call('huge page switch', SYS.prctl, [PR_GET_THP_DISABLE, 0, 0, 0, 0]),
      // Unknown to kernels before 5.16, and where there are no local descriptor tables.
      call('granted state', SYS.arch_prctl, [ARCH_GET_XCOMP_PERM, at + 8n], true),
      call('local descriptor table', SYS.modify_ldt, [MODIFY_LDT_READ, at + 16n, LDT_ENTRY_BYTES], true),
    ],
    answer: ([brk, dumpable, , hugePages, granted, localDescriptors]) => {
      if (localDescriptors! > 0n)
        throw new ComicranError('process.unsupported', `process ${main.process.pid} has a local descriptor table`);
      const bytes = main.read(at, 16);
      return {
        brk: brk!,
        dumpable: dumpable === 1n,
        childSubreaper: bytes.readInt32LE(0) !== 0,
        transparentHugePagesDisabled: hugePages !== 0n,
        grantedStateMask: granted === 0n ? bytes.readBigUInt64LE(8) : 0n,
      };
    },
  };
}

export function captureProcess(pid: number, status: StatusFile, own: OwnState): ProcessRecord {
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
    seccompFilters: captureFilters(pid, status),
    limits: getLimits(pid),
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

/** @param extendedState of any thread of the process. */
export function capturePlatform(pid: number, facts: KernelFacts, extendedState: Uint8Array): PlatformImage {
  const offsets = readClockOffsets(pid);
  const bytes = Buffer.from(extendedState.buffer, extendedState.byteOffset, extendedState.byteLength);
  return {
    kernelRelease: facts.release,
    kernelVersion: facts.version,
    vdsoDigest: facts.vdsoDigest,
    cpuFeatures: facts.cpuFeatures,
    extendedStateMask: bytes.readBigUInt64LE(STATE_MASK_OFFSET),
    bootId: facts.bootId,
    realtimeNanos: readClockNanos(CLOCK.REALTIME),
    monotonicNanos: readClockNanos(CLOCK.MONOTONIC) + offsets.monotonicNanos,
    boottimeNanos: readClockNanos(CLOCK.BOOTTIME) + offsets.boottimeNanos,
  };
}
