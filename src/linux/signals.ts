/** Signals of x86-64, from asm/signal.h, without the SIG in front. */
export const SIGNAL = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ILL: 4,
  TRAP: 5,
  ABRT: 6,
  BUS: 7,
  FPE: 8,
  KILL: 9,
  USR1: 10,
  SEGV: 11,
  USR2: 12,
  PIPE: 13,
  ALRM: 14,
  TERM: 15,
  CHLD: 17,
  CONT: 18,
  STOP: 19,
  TSTP: 20,
  TTIN: 21,
  TTOU: 22,
  URG: 23,
  WINCH: 28,
} as const;

/** Signals are numbered 1 to 64; the last ones are the real-time signals. */
export const SIGNAL_COUNT = 64;

/** Whether a mask as the kernel prints and takes it (bit n-1 for signal n) has a signal. */
export function hasSignal(mask: bigint, signal: number): boolean {
  return ((mask >> BigInt(signal - 1)) & 1n) === 1n;
}
