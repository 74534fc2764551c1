/**
 * A descriptor that ends another thread's wait: an eventfd in its poll set. It is passed to a worker as a number, since
 * threads share descriptors. Once signalled it stays readable until {@link clearWake}.
 */
import { addToEventfd } from './eventfd.ts';
import { readOnce } from './file-descriptors.ts';
import { syscall } from './libc.ts';
import { O } from './open-flags.ts';
import { SYS } from './syscall-numbers.ts';

/** The caller closes it with closeDescriptor. */
export function openWake(): number {
  return syscall('eventfd2', SYS.eventfd2, 0, O.CLOEXEC | O.NONBLOCK);
}

export function signalWake(wake: number): void {
  addToEventfd(wake, 1n);
}

export function clearWake(wake: number): void {
  readOnce(wake, Buffer.alloc(8));
}
