/** Memory that comes before its process: it is kept, and the process is built of it and of what was written last. */
import { ComicranError } from '../../base/errors.ts';
import { type ImageMessage, MAX_PART_BYTES, type OwnMessage, PAGE_BYTES, type PagesMessage } from '../messages.ts';
import type { PageRange, RestoringProcess } from '../ports.ts';
import type { DestinationBefore } from '../roles.ts';
import { StagedPages } from '../staged-pages.ts';
import { type PageWriter, type ProcessIn, type ReceivedProcess, receiveProcess } from './pages-in.ts';

/**
 * As {@link receiveProcess}, of a process whose memory may come in rounds before its image; or none of it may.
 *
 * @param also what else may come behind the image
 * @throws ComicranError image.invalid: a page of the process has come neither in the rounds nor behind them
 */
export async function receiveCopied(before: DestinationBefore, also?: ProcessIn['also']): Promise<ReceivedProcess> {
  const staged = new StagedPages();
  const firstPart = await receiveRounds(before, staged);
  const memory = new CopiedMemory(staged);
  return receiveProcess(before, {
    firstPart,
    also(message, writer) {
      if (also?.(message, writer) === true) return true;
      if (message.type === 'OWN') memory.isOwn(message);
      else memory.writeTo(writer);
      return message.type === 'OWN';
    },
    onPages: (message) => memory.came(message),
    complete: async () => memory.checkComplete(),
  });
}

/** @returns the first part of the image, which comes behind the last round */
async function receiveRounds(
  { line, phases, deadlines }: DestinationBefore,
  staged: StagedPages,
): Promise<ImageMessage> {
  for (let rounds = false; ; rounds = true) {
    const message = await line.receive(deadlines.stepMs, 'PAGES or IMAGE');
    if (message.type === 'IMAGE') return message;
    if (message.type !== 'PAGES') throw line.unexpected(message, 'PAGES or IMAGE');
    if (!rounds) phases.enter('copy');
    phases.addBytes(message.bytes.length);
    if (!staged.put(message.ranges, message.bytes)) line.recycle(message);
  }
}

/** What came in the rounds, when it is known what of it is still there. */
class CopiedMemory {
  readonly #staged: StagedPages;
  readonly #own: PageRange[] = [];
  #isTold = false;
  /** Numbers of pages that the process has and that did not come in the rounds. */
  readonly #absent = new Set<number>();
  readonly #last: PageRange[] = [];
  #written = false;

  constructor(staged: StagedPages) {
    this.#staged = staged;
  }

  /** @throws ComicranError peer.protocol */
  isOwn({ ranges }: OwnMessage): void {
    if (this.#written) throw new ComicranError('peer.protocol', 'OWN behind PAGES');
    this.#isTold = true;
    this.#own.push(...ranges);
  }

  /** Before what was written last is. Does nothing the second time. @throws ComicranError peer.protocol */
  writeTo(writer: PageWriter): void {
    if (this.#written) return;
    this.#written = true;
    if (!this.#isTold && this.#staged.count > 0)
      throw new ComicranError('peer.protocol', 'PAGES behind the image, and no OWN before them');
    const pieces = this.#staged.pieces(this.#own, MAX_PART_BYTES, (page) => this.#absent.add(page));
    writer.inBetween(async (process: RestoringProcess) => {
      for (const { range, bytes } of pieces) {
        const writing = process.writePages([range], bytes);
        if (writing instanceof Promise) await writing;
      }
    });
  }

  came({ ranges }: PagesMessage): void {
    this.#last.push(...ranges);
  }

  /** @throws ComicranError image.invalid: a page of the process has come neither in the rounds nor behind them */
  checkComplete(): void {
    for (const { start, length } of this.#last)
      for (let at = 0; at < length; at += PAGE_BYTES)
        this.#absent.delete(Number(start / BigInt(PAGE_BYTES)) + at / PAGE_BYTES);
    if (this.#absent.size === 0) return;
    const [first = 0] = this.#absent;
    throw new ComicranError(
      'image.invalid',
      `${this.#absent.size} pages of the process have not come, such as 0x${(first * PAGE_BYTES).toString(16)}`,
    );
  }
}
