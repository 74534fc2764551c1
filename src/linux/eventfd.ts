/** The count of an eventfd. Reading it changes it, so its state is read from fdinfo where the kernel tells all of it. */
import { assert } from '../base/assert.ts';
import { readOnce, writeAll } from './file-descriptors.ts';

/** The largest count that eventfd2(2) takes at creation. */
export const MAX_INITIAL_COUNT = 0xffff_ffffn;

export function addToEventfd(descriptor: number, count: bigint): void {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(count);
  writeAll(descriptor, bytes);
}

function takeFromEventfd(descriptor: number): bigint {
  const bytes = Buffer.alloc(8);
  assert(readOnce(descriptor, bytes) === 8, 'an eventfd with a count cannot be read');
  return bytes.readBigUInt64LE();
}

/**
 * Whether an eventfd is a semaphore, found by experiment: for kernels before 6.5, which do not tell. Nobody else may use
 * it meanwhile. The count is afterwards what it was; an edge-triggered epoll may report the descriptor once more.
 */
export function probeSemaphore(descriptor: number, count: bigint): boolean {
  const tried = count < 2n ? 2n : count;
  if (tried > count) addToEventfd(descriptor, tried - count);
  // A semaphore gives one, any other eventfd gives everything.
  const semaphore = takeFromEventfd(descriptor) === 1n;
  let left = semaphore ? tried - 1n : 0n;
  for (; left > count; left--) takeFromEventfd(descriptor);
  if (left < count) addToEventfd(descriptor, count - left);
  return semaphore;
}
