/** What the signals of an image mean for building its process. Pure. */
import type { ProcessImage, ThreadImage } from '../image/types.ts';
import { hasSignal, SIGNAL } from '../linux/signals.ts';

const ACTION_BYTES = 32;
const HANDLER_BYTES = 8;

type Image = {
  readonly signals: Pick<ProcessImage['signals'], 'pending' | 'actions'>;
  readonly threads: readonly Pick<ThreadImage, 'pendingSignals' | 'signalMask'>[];
};

/** @param info siginfo_t, which begins with the signal's number */
export function signalOf(info: Uint8Array): number {
  return Buffer.from(info.buffer, info.byteOffset, info.byteLength).readInt32LE(0);
}

/** A signal that ends injected calls and that does not wait in the image, where it would get lost. */
export function freeDoorbell({ signals, threads }: Image): number {
  const waiting = [...signals.pending, ...threads.flatMap((thread) => thread.pendingSignals)];
  const taken = waiting.reduce((mask, info) => mask | (1n << BigInt(signalOf(info) - 1)), 0n);
  const free = [SIGNAL.URG, SIGNAL.WINCH, SIGNAL.CHLD].find((signal) => !hasSignal(taken, signal));
  return free ?? SIGNAL.URG;
}

/** Whether the process has a handler for SIGCONT or may wait for it. */
export function noticesContinue({ signals, threads }: Image): boolean {
  const at = (SIGNAL.CONT - 1) * ACTION_BYTES;
  const handler = signals.actions.subarray(at, at + HANDLER_BYTES);
  return handler.some((byte) => byte !== 0) || threads.some(({ signalMask }) => hasSignal(signalMask, SIGNAL.CONT));
}
