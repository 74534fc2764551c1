/** epoll(7): what epoll_ctl and epoll_wait take. Numbers from linux/eventpoll.h. */
import { EINTR, KernelError } from './errno.ts';
import { trySyscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_MOD = 3;

export const EPOLLIN = 1;
export const EPOLLOUT = 4;
const EPOLLEXCLUSIVE = 0x1000_0000;
const EPOLLWAKEUP = 0x2000_0000;
const EPOLLONESHOT = 0x4000_0000;
const EPOLLET = 0x8000_0000;

/** struct epoll_event of x86-64 is packed. */
const EVENT_BYTES = 12;

export function epollEvent(events: number, data: bigint): Buffer {
  const event = Buffer.alloc(EVENT_BYTES);
  event.writeUInt32LE(events >>> 0, 0);
  event.writeBigUInt64LE(data, 4);
  return event;
}

/** Whether an item has fired once (EPOLLONESHOT) and is silent until it is armed anew. */
export function isDisarmed(events: number): boolean {
  return (events & ~(EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLONESHOT | EPOLLET)) === 0;
}

/** Takes what an epoll descriptor has to report, without waiting. @returns the number of events, at most `most`. */
export function takeEvents(descriptor: number, most: number): number {
  const events = Buffer.alloc(most * EVENT_BYTES);
  for (;;) {
    const count = trySyscall(SYS.epoll_wait, descriptor, events, most, 0);
    if (count >= 0) return count;
    if (count !== -EINTR) throw new KernelError('epoll_wait', -count);
  }
}
