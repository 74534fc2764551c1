/** The image and the pages of a process on their way to the destination. */
import { ComicranError } from '../../base/errors.ts';
import { type BufferRing, chunksOf } from '../chunks.ts';
import { MAX_IMAGE_BYTES, MAX_PART_BYTES } from '../messages.ts';
import type { FrozenProcess } from '../ports.ts';
import type { SourceBefore } from '../roles.ts';
import { abortedError, within } from '../waiting.ts';

/** Buffers that are on their way, or being filled. */
export const PAGE_BUFFERS = 4;

export async function sendImage({ line, phases, deadlines }: SourceBefore, image: Uint8Array): Promise<void> {
  if (image.length > MAX_IMAGE_BYTES)
    throw new ComicranError('process.unsupported', `a process image of ${image.length} bytes without its pages`);
  const sent: Promise<void>[] = [];
  for (let offset = 0; offset < image.length || offset === 0; offset += MAX_PART_BYTES) {
    const bytes = image.subarray(offset, offset + MAX_PART_BYTES);
    sent.push(line.send({ type: 'IMAGE', totalBytes: image.length, offset, bytes }, deadlines.stepMs));
    phases.addBytes(bytes.length);
  }
  await Promise.all(sent);
}

/**
 * Sends the pages, then END.
 * @param between done before each part. @throws what it throws, and where the source gives up or the time is over
 */
export async function sendPages(
  before: SourceBefore,
  memory: Pick<FrozenProcess, 'pages' | 'readPages'>,
  buffers: BufferRing,
  between: () => void | Promise<void>,
): Promise<void> {
  const { line, phases, deadlines, budget, ports, signal } = before;
  let pageBytes = 0;
  for (const { ranges, bytes } of chunksOf(memory.pages, before.chunkBytes)) {
    if (signal?.aborted) throw abortedError();
    if (budget.over) throw new ComicranError('deadline', `${pageBytes} bytes of memory were sent when time was up`);
    await between();
    await buffers.use(
      (buffer) =>
        within(ports.clock, deadlines.stepMs, 'reading memory', memory.readPages(ranges, buffer.subarray(0, bytes))),
      (buffer) => line.send({ type: 'PAGES', ranges, bytes: buffer.subarray(0, bytes) }, deadlines.stepMs),
    );
    pageBytes += bytes;
    phases.addBytes(bytes);
  }
  await buffers.flush();
  await line.send({ type: 'END', pageBytes: BigInt(pageBytes) }, deadlines.stepMs);
}
