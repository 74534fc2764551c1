/** Before a sandbox moves: the destination gets the files that it lacks, and no others. */
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '@connectrpc/connect';
import type { Sdaemon } from '../../api/gen/comicran_pb.ts';
import { ComicranError } from '../../base/errors.ts';
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
  await using handle = await open(existsSync(stored) ? stored : file.source);
  const modifiedUnixMs = BigInt(Math.round((await handle.stat()).mtimeMs));
  const buffer = Buffer.allocUnsafe(Math.min(PART_BYTES, Math.max(size, 1)));
  for (let offset = 0; ; ) {
    if (signal.aborted) throw new ComicranError('aborted', 'the migration was aborted before it touched anything');
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, size - offset), offset);
    const end = offset + bytesRead;
    if (bytesRead === 0 && end < size) {
      throw new ComicranError('config.changed-file', `${file.source}: the stored file has become shorter`);
    }
    await destination.putFilePart(
      {
        ...{ fromVm, sha256, mode, modifiedUnixMs, size: BigInt(size), offset: BigInt(offset), last: end === size },
        part: buffer.subarray(0, bytesRead),
      },
      { timeoutMs: PART_TIMEOUT_MS },
    );
    if (end === size) return size;
    offset = end;
  }
}
