/** The image and the pages of a process on their way to the destination. */
import { ComicranError } from '../../base/errors.ts';
import { formatBytes } from '../../base/units.ts';
import { type BufferRing, chunksOf } from '../chunks.ts';
import { MAX_IMAGE_BYTES, MAX_PART_BYTES, MAX_RANGES } from '../messages.ts';
import type { FrozenProcess, PageRange } from '../ports.ts';
import type { SourceBefore } from '../roles.ts';
import { abortedError, within } from '../waiting.ts';

/** Buffers that are on their way, or being filled. */
export const PAGE_BUFFERS = 4;
/** A range's length has 32 bits. */
const MAX_RANGE_BYTES = 1 << 30;

/** @param type IMAGE: it counts as done of what is to be sent */
export async function sendImage(
  { line, phases, deadlines }: SourceBefore,
  image: Uint8Array,
  type: 'IMAGE' | 'SKETCH' = 'IMAGE',
): Promise<void> {
  if (image.length > MAX_IMAGE_BYTES)
    throw new ComicranError('process.unsupported', `a process image of ${image.length} bytes without its pages`);
  const sent: Promise<void>[] = [];
  for (let offset = 0; offset < image.length || offset === 0; offset += MAX_PART_BYTES) {
    const bytes = image.subarray(offset, offset + MAX_PART_BYTES);
    sent.push(line.send({ type, totalBytes: image.length, offset, bytes }, deadlines.stepMs));
    if (type === 'IMAGE') phases.addBytes(bytes.length);
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
  const pageBytes = await sendSomePages(before, memory, buffers, between);
  await sendEnd(before, pageBytes);
}

/** There are no more. @param pageBytes how many there were */
export async function sendEnd(
  { line, deadlines }: Pick<SourceBefore, 'line' | 'deadlines'>,
  pageBytes: number,
): Promise<void> {
  await line.send({ type: 'END', pageBytes: BigInt(pageBytes) }, deadlines.stepMs);
}

/** The same without END. @returns how many bytes that were */
export async function sendSomePages(
  before: SourceBefore,
  memory: Pick<FrozenProcess, 'pages' | 'readPages'>,
  buffers: BufferRing,
  between: () => void | Promise<void>,
): Promise<number> {
  const { line, phases, deadlines, budget, ports, signal } = before;
  let pageBytes = 0;
  for (const { ranges, bytes } of chunksOf(memory.pages, before.chunkBytes)) {
    if (signal?.aborted) throw abortedError();
    if (budget.over)
      throw new ComicranError('deadline', `time was up when ${formatBytes(pageBytes)} of its memory had been sent`);
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
  return pageBytes;
}

/** Says which pages, in as many messages as they need; in at least one. */
export async function sendRanges(
  { line, deadlines }: SourceBefore,
  type: 'MISSING' | 'OWN',
  ranges: readonly PageRange[],
): Promise<void> {
  const sent: Promise<void>[] = [];
  const cut = ranges.some(({ length }) => length > MAX_RANGE_BYTES) ? ranges.flatMap(cutRange) : ranges;
  for (let first = 0; first < cut.length || first === 0; first += MAX_RANGES)
    sent.push(line.send({ type, ranges: cut.slice(first, first + MAX_RANGES) }, deadlines.stepMs));
  await Promise.all(sent);
}

function cutRange({ start, length }: PageRange): PageRange[] {
  const parts: PageRange[] = [];
  for (let at = 0; at < length; at += MAX_RANGE_BYTES)
    parts.push({ start: start + BigInt(at), length: Math.min(MAX_RANGE_BYTES, length - at) });
  return parts;
}
