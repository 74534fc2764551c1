/** Files with configurations, read as far as a configuration can be long and no further. */
import { closeSync, openSync, readSync } from 'node:fs';
import { ComicranError, messageOf } from './errors.ts';

const CHUNK_BYTES = 1 << 16;

/**
 * The text of a file, a pipe or the like; never reads more than `maxBytes` and a bit.
 *
 * @param hint what to do where it cannot be read.
 * @throws ComicranError config.missing-file, config.invalid where it is not UTF-8 or longer.
 */
export function readTextFile(path: string, maxBytes: number, hint = 'Name a configuration.'): string {
  let bytes: Buffer | undefined;
  try {
    bytes = readAtMost(path, maxBytes);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const why = code === 'ENOENT' ? 'does not exist' : `cannot be read: ${code ?? messageOf(cause)}`;
    throw new ComicranError('config.missing-file', `${path} ${why}`, { hint, cause });
  }
  if (bytes !== undefined) return decodeText(bytes, path);
  throw new ComicranError('config.invalid', `${path}:1:1: it is longer than ${maxBytes} bytes`, {
    hint: 'No configuration is as long as that; name another file.',
  });
}

function readAtMost(path: string, maxBytes: number): Buffer | undefined {
  const descriptor = openSync(path, 'r');
  try {
    const chunks: Buffer[] = [];
    let length = 0;
    for (;;) {
      const chunk = Buffer.alloc(CHUNK_BYTES);
      const count = readSync(descriptor, chunk, 0, chunk.length, null);
      if (count === 0) return Buffer.concat(chunks);
      chunks.push(chunk.subarray(0, count));
      length += count;
      if (length > maxBytes) return undefined;
    }
  } finally {
    closeSync(descriptor);
  }
}

/** @param name as it stands in messages. @throws ComicranError config.invalid where it is not UTF-8. */
export function decodeText(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ComicranError('config.invalid', `${name} is not text in UTF-8`, {
      hint: 'A configuration is YAML or JSON; save it in UTF-8.',
      cause,
    });
  }
}
