import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import type { FileLook } from './platform.ts';

const HEAD_BYTES = 4096;

/** Looks at files under a root directory. */
export function lookInto(root: string): FileLook {
  return (path) => {
    const status = statSync(root + path, { bigint: true, throwIfNoEntry: false });
    if (status === undefined || !status.isFile()) return null;
    const descriptor = openSync(root + path, 'r');
    try {
      const head = Buffer.alloc(HEAD_BYTES);
      const length = readSync(descriptor, head, 0, HEAD_BYTES, 0);
      return { size: status.size, headDigest: createHash('sha256').update(head.subarray(0, length)).digest() };
    } finally {
      closeSync(descriptor);
    }
  };
}
