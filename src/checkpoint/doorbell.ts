import type { StatusFile } from '../linux/procfs.ts';
import { hasSignal, SIGNAL } from '../linux/signals.ts';

/** Signals whose default action is to do nothing. */
const CANDIDATES = [SIGNAL.URG, SIGNAL.WINCH, SIGNAL.CHLD] as const;

/**
 * The signal that ends an injected call (see linux/agent.ts): one that the process neither handles, nor waits for with a
 * mask, nor has waiting. Where there is none, the first: all is well then as long as this program lives through the call.
 */
export function chooseDoorbell(statuses: readonly StatusFile[]): number {
  const taken = statuses.reduce(
    (mask, status) => mask | status.hex('SigCgt') | status.hex('SigBlk') | status.hex('SigPnd') | status.hex('ShdPnd'),
    0n,
  );
  return CANDIDATES.find((signal) => !hasSignal(taken, signal)) ?? CANDIDATES[0];
}

/**
 * Whether a SIGSEGV of the main thread can be the tracer's: the kernel changes what the process does about it where it ignores
 * it, and one that waits already would be taken for it.
 */
export function areFaultsFree(main: StatusFile): boolean {
  return !hasSignal(main.hex('SigIgn') | main.hex('SigPnd') | main.hex('ShdPnd'), SIGNAL.SEGV);
}
