/** Before a sandbox moves: the destination gets the files that it lacks, and no others. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '@connectrpc/connect';
import type { Sdaemon } from '../../api/gen/comicran_pb.ts';
import { ComicranError, messageOf } from '../../base/errors.ts';
import type { FileEntry, FullConfig } from '../../base/sandbox-config.ts';
import { storeDirectory } from '../../jailor/naming.ts';
import { objectName } from '../../jailor/store/objects.ts';

/** Of a message; the calls of others go in between. */
const PART_BYTES = 2 << 20;
/** It may have to copy or to read all of them. */
const LOOK_TIMEOUT_MS = 120_000;
const PART_TIMEOUT_MS = 30_000;

export type FilesMoved = {
  readonly sentFiles: number;
  readonly sentBytes: number;
  /** The destination had them, though not in its store. */
  readonly copiedBytes: number;
};

type Source = { readonly vm: string; readonly stateDirectory: string };

/** @throws ComicranError: nothing has been touched; aborted. Files that have arrived stay in the destination's store. */
export async function sendLackingFiles(
  { vm, stateDirectory }: Source,
  destination: Client<typeof Sdaemon>,
  config: FullConfig,
  signal: AbortSignal,
): Promise<FilesMoved> {
  const configJson = JSON.stringify(config);
  const answer = await destination.lackingFiles({ configJson }, { timeoutMs: LOOK_TIMEOUT_MS });
  let sentBytes = 0;
  for (const index of answer.lacking) {
    const file = config.files[index];
    if (file === undefined)
      throw new ComicranError('peer.protocol', 'the destination asks for a file that there is not');
    sentBytes += await sendFile(vm, storeDirectory(stateDirectory), destination, file, signal);
  }
  return { sentFiles: answer.lacking.length, sentBytes, copiedBytes: Number(answer.copiedBytes) };
}

async function sendFile(
  fromVm: string,
  store: string,
  destination: Client<typeof Sdaemon>,
  file: FileEntry,
  signal: AbortSignal,
): Promise<number> {
  const { sha256, size, mode } = file;
  const stored = join(store, objectName(file));
  const path = existsSync(stored) ? stored : file.source;
  await using handle = await readable(file, () => open(path));
  const modifiedUnixMs = BigInt(Math.round((await readable(file, () => handle.stat())).mtimeMs));
  const buffer = Buffer.allocUnsafe(Math.min(PART_BYTES, Math.max(size, 1)));
  const hash = createHash('sha256');
  const put = async (offset: number, part: Uint8Array, last: boolean): Promise<void> => {
    const request = { fromVm, sha256, mode, modifiedUnixMs, size: BigInt(size), offset: BigInt(offset), last, part };
    await destination.putFilePart(request, { timeoutMs: PART_TIMEOUT_MS });
  };
  let offset = 0;
  try {
    for (;;) {
      if (signal.aborted) throw new ComicranError('aborted', 'the migration was aborted before it touched anything');
      const { bytesRead } = await readable(file, () =>
        handle.read(buffer, 0, Math.min(buffer.length, size - offset), offset),
      );
      const part = buffer.subarray(0, bytesRead);
      const end = offset + bytesRead;
      if (bytesRead === 0 && end < size) throw changed(file, `it has ${end} bytes, not ${size}`);
      hash.update(part);
      const found = end === size ? hash.digest('hex') : sha256;
      if (found !== sha256) throw changed(file, `its sha256 is ${found}, not ${sha256}`);
      await put(offset, part, end === size);
      if (end === size) return size;
      offset = end;
    }
  } catch (thrown) {
    // A part that is out of order makes the destination forget what has come of the file.
    if (offset > 0) await put(size, Buffer.alloc(0), false).catch(() => undefined);
    throw thrown;
  }
}

async function readable<T>(file: FileEntry, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw new ComicranError(
      'config.missing-file',
      `the file ${file.path}, which the destination lacks, cannot be sent: ${messageOf(cause)}`,
      { hint: `Bring ${file.source} back here, or to the destination, and migrate again.`, cause },
    );
  }
}

function changed(file: FileEntry, how: string): ComicranError {
  return new ComicranError(
    'config.changed-file',
    `the file ${file.path}, which the destination lacks, cannot be sent: it has changed here: ${how}`,
    { hint: `Bring ${file.source} back as it was, here or at the destination, and migrate again.` },
  );
}
