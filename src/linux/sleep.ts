import { trySyscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

const time = Buffer.alloc(16);

/** Blocks the calling thread. For waits so short that nothing else is to run meanwhile. */
export function sleepMicros(micros: number): void {
  time.writeBigInt64LE(BigInt(Math.floor(micros / 1_000_000)), 0);
  time.writeBigInt64LE(BigInt(micros % 1_000_000) * 1000n, 8);
  trySyscall(SYS.nanosleep, time, null);
}
