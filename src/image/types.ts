/**
 * The process image: a process as data, without the contents of its pages.
 *
 * Addresses are of the process's own address space. PIDs and TIDs are the numbers inside its PID namespace. Paths are as
 * the process itself sees them. Byte blocks keep the kernel's own layout where the kernel takes them back unread.
 */
import type { DescriptorTableImage } from './descriptors/types.ts';

export type ProcessImage = {
  readonly platform: PlatformImage;
  readonly process: ProcessRecord;
  readonly memory: MemoryImage;
  readonly signals: SignalImage;
  readonly timers: TimerImage;
  /** The main thread first; its `tid` is the PID. */
  readonly threads: readonly ThreadImage[];
  readonly descriptors: DescriptorTableImage;
};

/** As many ids from `inside` on are, outside, as many from `outside` on. */
export type IdRangeImage = { readonly inside: number; readonly outside: number; readonly count: number };

/** What the machine must have in common with the one that the image comes from. */
export type PlatformImage = {
  /** uname -r and uname -v: `6.1.0-18-cloud-amd64`, `#1 SMP …`. */
  readonly kernelRelease: string;
  readonly kernelVersion: string;
  /** SHA-256 of the vdso, which the process has pointers into. */
  readonly vdsoDigest: Uint8Array;
  /** Instruction-set features as /proc/cpuinfo names them, sorted: the process has probed for them. */
  readonly cpuFeatures: readonly string[];
  /** Components of the extended state that the kernel keeps (XCR0). */
  readonly extendedStateMask: bigint;
  /** Distinguishes boots: clocks of one boot need no adjustment. */
  readonly bootId: string;
  /** Clocks at the capture, in nanoseconds, as the process reads them. */
  readonly realtimeNanos: bigint;
  readonly monotonicNanos: bigint;
  readonly boottimeNanos: bigint;
};

export type ProcessRecord = {
  readonly pid: number;
  /** Process group and session, 0 when they lie outside the PID namespace. */
  readonly processGroup: number;
  readonly session: number;
  readonly executable: string;
  readonly workingDirectory: string;
  readonly umask: number;
  readonly personality: number;
  readonly dumpable: boolean;
  readonly childSubreaper: boolean;
  readonly transparentHugePagesDisabled: boolean;
  readonly oomScoreAdjust: number;
  /** Components of the extended state that were granted on request (ARCH_REQ_XCOMP_PERM). */
  readonly grantedStateMask: bigint;
  /** Programs of classic BPF, eight bytes an instruction, the oldest first; the same for every thread. */
  readonly seccompFilters: readonly Uint8Array[];
  /** Soft and hard limit of each resource, in the order of asm-generic/resource.h. */
  readonly limits: readonly { readonly soft: bigint; readonly hard: bigint }[];
  /** Which ids of the machine those of the sandbox are; no ranges: the same. All ids in an image are those inside. */
  readonly ids: { readonly users: readonly IdRangeImage[]; readonly groups: readonly IdRangeImage[] };
};

export type ThreadImage = {
  readonly tid: number;
  /** At most 15 bytes, not necessarily UTF-8. */
  readonly name: Uint8Array;
  /** struct user_regs_struct, 216 bytes, ready to run on: a system call that was cut short starts again. */
  readonly registers: Uint8Array;
  /** The XSAVE area in its standard form, as PTRACE_GETREGSET gives it. */
  readonly extendedState: Uint8Array;
  readonly signalMask: bigint;
  readonly alternateStack: { readonly address: bigint; readonly flags: number; readonly size: bigint };
  /** `address` 0n: none is registered. */
  readonly rseq: {
    readonly address: bigint;
    readonly size: number;
    readonly signature: number;
    readonly flags: number;
  };
  readonly robustList: { readonly head: bigint; readonly length: bigint };
  /** Cleared and woken when the thread ends (set_tid_address). */
  readonly clearTidAddress: bigint;
  /** Signal that the thread gets when its parent ends, 0: none. */
  readonly parentDeathSignal: number;
  readonly timerSlackNanos: bigint;
  /** siginfo_t of 128 bytes each, oldest first. */
  readonly pendingSignals: readonly Uint8Array[];
  readonly credentials: CredentialsImage;
  readonly scheduling: SchedulingImage;
};

export type CredentialsImage = {
  /** Real, effective, saved, file system. */
  readonly userIds: readonly [number, number, number, number];
  readonly groupIds: readonly [number, number, number, number];
  readonly groups: readonly number[];
  readonly capabilities: {
    readonly inheritable: bigint;
    readonly permitted: bigint;
    readonly effective: bigint;
    readonly bounding: bigint;
    readonly ambient: bigint;
  };
  readonly secureBits: number;
  readonly noNewPrivileges: boolean;
};

export type SchedulingImage = {
  /** SCHED_*, from linux/sched.h. */
  readonly policy: number;
  readonly resetOnFork: boolean;
  readonly nice: number;
  /** For the real-time policies, else 0. */
  readonly priority: number;
  /** CPUs it may run on, bit n of byte n/8; empty: all. */
  readonly affinity: Uint8Array;
};

/** Bits of {@link MemoryArea.protection}, as mmap takes them. */
export const PROTECTION = { READ: 1, WRITE: 2, EXECUTE: 4 } as const;

/** Bits of {@link MemoryArea.flags}. The numbers are part of the format. */
export const AREA = {
  SHARED: 1 << 0,
  GROWS_DOWN: 1 << 1,
  NO_RESERVE: 1 << 2,
  DONT_FORK: 1 << 3,
  WIPE_ON_FORK: 1 << 4,
  DONT_DUMP: 1 << 5,
  HUGE_PAGE: 1 << 6,
  NO_HUGE_PAGE: 1 << 7,
  MERGEABLE: 1 << 8,
  SEQUENTIAL: 1 << 9,
  RANDOM: 1 << 10,
  LOCKED: 1 << 11,
  /** Counted against the overcommit limit though it is not writable now: it was once. */
  ACCOUNTED: 1 << 12,
} as const;
/** Every bit that a flags word of this version can have. */
export const AREA_FLAGS = Object.values(AREA).reduce((all: number, bit) => all | bit, 0);

export type MemoryArea = {
  readonly start: bigint;
  readonly end: bigint;
  readonly protection: number;
  readonly flags: number;
  /** Index into {@link MemoryImage.files}; null: anonymous. */
  readonly file: number | null;
  /** In bytes; 0n for anonymous memory. */
  readonly fileOffset: bigint;
  /** Name of anonymous memory (PR_SET_VMA_ANON_NAME), empty: none. */
  readonly name: string;
};

export type MappedFile = {
  readonly path: string;
  readonly size: bigint;
  /** SHA-256 of the first 4 KiB: another build of a library is not the same file. */
  readonly headDigest: Uint8Array;
};

/** What the kernel maps itself and can only be moved: `[vvar]`, `[vvar_vclock]`, `[vdso]`. */
export type SpecialArea = { readonly name: string; readonly start: bigint; readonly end: bigint };

/** struct prctl_mm_map, the fields of an address space that tools and brk(2) read. */
export type AddressSpaceFields = {
  readonly startCode: bigint;
  readonly endCode: bigint;
  readonly startData: bigint;
  readonly endData: bigint;
  readonly startBrk: bigint;
  readonly brk: bigint;
  readonly startStack: bigint;
  readonly argStart: bigint;
  readonly argEnd: bigint;
  readonly envStart: bigint;
  readonly envEnd: bigint;
};

export type MemoryImage = {
  /** Ascending, not overlapping, without the special ones. */
  readonly areas: readonly MemoryArea[];
  readonly specials: readonly SpecialArea[];
  readonly files: readonly MappedFile[];
  readonly fields: AddressSpaceFields;
  readonly auxv: Uint8Array;
  /** Bytes of all pages that travel beside the image. */
  readonly pageBytes: bigint;
};

export type SignalImage = {
  /** struct kernel_sigaction, 32 bytes for each signal from 1 to 64. */
  readonly actions: Uint8Array;
  /** Those that wait for the whole process; siginfo_t of 128 bytes each, oldest first. */
  readonly pending: readonly Uint8Array[];
};

/** How a POSIX timer tells that it has expired (SIGEV_*). */
export type TimerNotification =
  | { readonly kind: 'none' }
  | { readonly kind: 'signal'; readonly signal: number; readonly value: bigint }
  | { readonly kind: 'thread'; readonly signal: number; readonly value: bigint; readonly tid: number };

export type PosixTimer = {
  readonly id: number;
  readonly clock: number;
  readonly notification: TimerNotification;
  /** Nanoseconds until the next expiry, 0n: disarmed. */
  readonly remainingNanos: bigint;
  readonly intervalNanos: bigint;
};

/** ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF: microseconds; remaining 0n: disarmed. */
export type IntervalTimer = { readonly remainingMicros: bigint; readonly intervalMicros: bigint };

export type TimerImage = {
  readonly posix: readonly PosixTimer[];
  readonly intervals: readonly [IntervalTimer, IntervalTimer, IntervalTimer];
};
