/** This process's limit of open descriptors. */
import { syscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

/** asm-generic/resource.h */
const RLIMIT_NOFILE = 7;
/** struct rlimit64: soft and hard limit. */
const RLIMIT_BYTES = 16;
const THIS_PROCESS = 0;

function exchange(wanted: Buffer | null): Buffer {
  const former = Buffer.alloc(RLIMIT_BYTES);
  syscall('prlimit RLIMIT_NOFILE', SYS.prlimit64, THIS_PROCESS, RLIMIT_NOFILE, wanted, former);
  return former;
}

/** Runs a function with this soft limit (or the hard one, where that is less): children that it starts inherit it. */
export function withSoftDescriptorLimit<T>(soft: bigint, run: () => T): T {
  const own = exchange(null);
  const wanted = Buffer.from(own);
  const hard = own.readBigUInt64LE(8);
  wanted.writeBigUInt64LE(hard < soft ? hard : soft, 0);
  exchange(wanted);
  try {
    return run();
  } finally {
    exchange(own);
  }
}
