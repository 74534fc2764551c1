/** What makes a server's answers depend on more than its input, so that a copy of it can be told from the original. */
import { closeSync, openSync, readSync } from 'node:fs';
import { hrtime } from 'node:process';

export const VARIATIONS = ['steady', 'clock', 'random'] as const;
export type Variation = (typeof VARIATIONS)[number];

/**
 * From the kernel, each time: the generators of V8 and of OpenSSL keep their state in the process's own memory, so that a
 * copy of the process would draw the same numbers.
 */
function kernelRandom(): string {
  const bytes = Buffer.alloc(8);
  const file = openSync('/dev/urandom', 'r');
  try {
    readSync(file, bytes);
  } finally {
    closeSync(file);
  }
  return bytes.toString('hex');
}

/** A word to put behind an answer; empty where answers depend on the input alone. */
export function variationOf(variation: Variation): () => string {
  switch (variation) {
    case 'steady':
      return () => '';
    case 'clock':
      return () => `clock=${hrtime.bigint()}`;
    case 'random':
      return () => `random=${kernelRandom()}`;
  }
}
