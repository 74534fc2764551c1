import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { ComicranError } from '../base/errors.ts';
import { type Chain, chainText, fileError, notAFile } from './host-files.ts';

export type Hashed = { readonly sha256: string; readonly size: number };

const CHUNK_BYTES = 1 << 20;

/**
 * @param onBytes is told how many bytes were read since the last call.
 * @throws ComicranError config.changed-file if the file changes while it is read.
 */
export async function hashFile(path: string, chain: Chain, onBytes: (count: number) => void): Promise<Hashed> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw fileError(path, chain, cause);
  }
  try {
    const before = await file.stat({ bigint: true });
    if (!before.isFile()) throw notAFile(path, chain, 'something else now');
    const hash = createHash('sha256');
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    let size = 0;
    for (;;) {
      const { bytesRead } = await file.read(chunk, 0, chunk.length, size);
      if (bytesRead === 0) break;
      hash.update(chunk.subarray(0, bytesRead));
      size += bytesRead;
      onBytes(bytesRead);
    }
    const after = await file.stat({ bigint: true });
    if (after.mtimeNs !== before.mtimeNs || after.size !== before.size || Number(after.size) !== size) {
      throw new ComicranError('config.changed-file', `${path} changed while it was read (${chainText(chain)})`, {
        hint: 'Run configer again when whoever writes to it is done.',
      });
    }
    return { sha256: hash.digest('hex'), size };
  } catch (cause) {
    throw cause instanceof ComicranError ? cause : fileError(path, chain, cause);
  } finally {
    await file.close();
  }
}
