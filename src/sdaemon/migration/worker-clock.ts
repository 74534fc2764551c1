import type { Clock } from '../../migration/ports.ts';

export const WORKER_CLOCK: Clock = {
  nowMicros: () => performance.now() * 1000,
  startTimer(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  },
};
