/** Stop, send everything. The process is stopped from its first message on. */
import { ComicranError } from '../../base/errors.ts';
import { BufferRing, chunksOf, totalLength } from '../chunks.ts';
import { MAX_IMAGE_BYTES, MAX_PART_BYTES, type ReadyMessage } from '../messages.ts';
import type { FrozenProcess } from '../ports.ts';
import type { SourceBefore, SourceLine, SourceMode } from '../roles.ts';
import { abortedError, sleep, within } from '../waiting.ts';

/** Buffers that are on their way, or being filled. */
const BUFFERS = 4;
/** How long a broken connection is listened to for the reason, which the destination has sent before it closed. */
const REASON_MS = 100;

export const sendStopped: SourceMode['send'] = async (before) => {
  const { phases, line, budget, deadlines } = before;
  const buffers = new BufferRing(BUFFERS, before.chunkBytes);
  phases.enter('freeze');
  const frozen = await before.freeze();
  const answer = new Answer(line, budget.remainingMs);
  try {
    phases.enter('image');
    phases.expectBytes(frozen.image.length + totalLength(frozen.pages));
    await sendImage(before, frozen.image);
    phases.enter('pages');
    await sendPages(before, frozen, buffers, answer);
    phases.enter('restore');
    const ready = await within(
      before.ports.clock,
      Math.min(budget.remainingMs, deadlines.stepMs),
      `${before.migration.destination}'s READY`,
      answer.ready,
    );
    return { frozen, ready };
  } catch (error) {
    throw await answer.reasonBehind(error, before);
  }
};

/** What the destination says while it is being sent to: READY at the end, or why it gives up. */
class Answer {
  readonly ready: Promise<ReadyMessage>;
  failure: unknown;

  constructor(line: SourceLine, timeoutMs: number) {
    this.ready = line.expect('READY', timeoutMs);
    this.ready.catch((error: unknown) => {
      this.failure = error;
    });
  }

  /** A broken connection is the consequence of what the destination said just before, if it said anything. */
  async reasonBehind(error: unknown, { ports }: SourceBefore): Promise<unknown> {
    if (!(error instanceof ComicranError) || error.code !== 'peer.died') return error;
    await Promise.race([this.ready.catch(() => {}), sleep(ports.clock, REASON_MS)]);
    return this.failure ?? error;
  }
}

async function sendImage({ line, phases, deadlines }: SourceBefore, image: Uint8Array): Promise<void> {
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

async function sendPages(
  before: SourceBefore,
  frozen: FrozenProcess,
  buffers: BufferRing,
  answer: Answer,
): Promise<void> {
  const { line, phases, deadlines, budget, ports, signal } = before;
  let pageBytes = 0;
  for (const { ranges, bytes } of chunksOf(frozen.pages, before.chunkBytes)) {
    if (signal?.aborted) throw abortedError();
    if (answer.failure !== undefined) throw answer.failure;
    if (budget.over) throw new ComicranError('deadline', `${pageBytes} bytes of memory were sent when time was up`);
    await buffers.use(
      (buffer) =>
        within(ports.clock, deadlines.stepMs, 'reading memory', frozen.readPages(ranges, buffer.subarray(0, bytes))),
      (buffer) => line.send({ type: 'PAGES', ranges, bytes: buffer.subarray(0, bytes) }, deadlines.stepMs),
    );
    pageBytes += bytes;
    phases.addBytes(bytes);
  }
  await buffers.flush();
  await line.send({ type: 'END', pageBytes: BigInt(pageBytes) }, deadlines.stepMs);
}
