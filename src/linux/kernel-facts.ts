/** What this machine's kernel and CPU are and can, probed once by the thread that uses it and passed around as one value. */
import { readFileSync } from 'node:fs';
import { release, version } from 'node:os';
import { readBootId } from './boot-id.ts';
import { trySyscall } from './libc.ts';
import { ProcessMemory } from './memory.ts';
import { hasPagemapScan } from './pagemap.ts';
import { parseMaps, readProc } from './procfs.ts';
import { hasSoftDirty } from './soft-dirty.ts';
import { SYS } from './syscall-numbers.ts';
import { currentScheduling, type ThreadScheduling } from './urgency.ts';
import { hasWriteNotes } from './userfaultfd.ts';
import { digestOf, readVdso } from './vdso.ts';

export type KernelFacts = {
  /** `6.1.0-18-cloud-amd64` */
  readonly release: string;
  /** `#1 SMP PREEMPT_DYNAMIC Debian …`: tells builds of one release apart. */
  readonly version: string;
  readonly bootId: string;
  readonly vdsoDigest: Buffer;
  /** Instruction sets and the like that a program can see and use, sorted, as /proc/cpuinfo names them. */
  readonly cpuFeatures: readonly string[];
  /** How the probing thread is scheduled when nothing is urgent. */
  readonly scheduling: ThreadScheduling;
  /** 6.7: find pages by their kind without reading an entry for each. */
  readonly pagemapScan: boolean;
  /** How writes to another process's memory can be noticed: userfaultfd from 6.7, soft-dirty bits where they are configured. */
  readonly writeTracking: 'userfaultfd' | 'soft-dirty' | 'none';
  /** 6.15: timer_create takes the id that it is asked for (PR_TIMER_CREATE_RESTORE_IDS). */
  readonly timerRestoreIds: boolean;
};

const PR_TIMER_CREATE_RESTORE_IDS = 77;
const PR_TIMER_CREATE_RESTORE_IDS_GET = 2;

/**
 * The words of the flags line that are instructions or state that a program may use. The others are the kernel's business
 * (mitigations, clock qualities, virtualisation), and differ between machines that are the same to a program.
 */
const USER_VISIBLE = new RegExp(
  `^(?:${[
    'fpu|tsc|cx8|cx16|cmov|mmx|mmxext|3dnow\\w*|fxsr\\w*|pni|ssse3|sse\\w*|avx\\w*|amx\\w*|fma\\w*|f16c|bmi[12]|tbm|xop',
    'popcnt|abm|aes|vaes|v?pclmulqdq|sha\\w*|sm[34]|gfni|rd(?:rand|seed|pid|tscp)|adx|movbe|movdir\\w+|cl(?:flush|flushopt|wb|zero)',
    'fsgsbase|erms|fsrm|fzrm|fsrc|fsrs|lahf_lm|xsave\\w*|xgetbv1|pku|ospke|waitpkg|serialize|cldemote|rtm|hle|prefetchw\\w*',
    'misalignsse|enqcmd|hreset|lkgs|cmpccxadd|raoint|wbnoinvd|user_shstk|ibt|umip',
  ].join('|')})$`,
);

function cpuFeatures(): string[] {
  const flags = /^flags\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'latin1'))?.[1] ?? '';
  return flags
    .split(' ')
    .filter((flag) => USER_VISIBLE.test(flag))
    .toSorted();
}

function probeWriteTracking(pagemapScan: boolean): KernelFacts['writeTracking'] {
  if (pagemapScan && hasWriteNotes()) return 'userfaultfd';
  return hasSoftDirty() ? 'soft-dirty' : 'none';
}

export function probeKernel(): KernelFacts {
  const memory = new ProcessMemory(process.pid);
  const pagemapScan = hasPagemapScan();
  try {
    return {
      release: release(),
      version: version(),
      bootId: readBootId(),
      vdsoDigest: digestOf(readVdso(parseMaps(readProc('self', 'maps')), memory)),
      cpuFeatures: cpuFeatures(),
      scheduling: currentScheduling(),
      pagemapScan,
      writeTracking: probeWriteTracking(pagemapScan),
      timerRestoreIds:
        trySyscall(SYS.prctl, PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_GET, 0, 0, 0) >= 0,
    };
  } finally {
    memory.close();
  }
}
