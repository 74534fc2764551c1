/** Keeps what comes while the process runs at the source, and builds it of that and of what was written last. */
import { ComicranError } from '../../base/errors.ts';
import { type ImageMessage, MAX_PART_BYTES, type OwnMessage, PAGE_BYTES, type PagesMessage } from '../messages.ts';
import type { PageRange, RestoringProcess } from '../ports.ts';
import type { DestinationBefore, DestinationMode } from '../roles.ts';
import { StagedPages } from '../staged-pages.ts';
import { exchangeReady, type PageWriter, receiveProcess } from './pages-in.ts';
import { openAtOnce } from './stopcopy-destination.ts';

export const receivePrecopy: DestinationMode['receive'] = async (before) => {
  before.phases.enter('copy');
  const staged = new StagedPages();
  const firstPart = await receiveRounds(before, staged);
  const memory = new CopiedMemory(staged);
  const { process, ready } = await receiveProcess(before, {
    firstPart,
    also: (message, writer) => {
      if (message.type === 'OWN') memory.isOwn(message);
      else memory.writeTo(writer);
      return message.type === 'OWN';
    },
    onPages: (message) => memory.came(message),
    complete: async () => memory.checkComplete(),
  });
  const take = await exchangeReady(before, ready);
  return { ...{ process, take, passDirectly: false }, open: () => openAtOnce(process) };
};

/** @returns the first part of the image, which comes behind the last round */
async function receiveRounds(
  { line, phases, deadlines }: DestinationBefore,
  staged: StagedPages,
): Promise<ImageMessage> {
  for (;;) {
    const message = await line.receive(deadlines.stepMs, 'PAGES');
    if (message.type === 'IMAGE') return message;
    if (message.type !== 'PAGES') throw line.unexpected(message, 'PAGES or IMAGE');
    phases.addBytes(message.bytes.length);
    if (!staged.put(message.ranges, message.bytes)) line.recycle(message);
  }
}

/** What came in the rounds, when it is known what of it is still there. */
class CopiedMemory {
  readonly #staged: StagedPages;
  readonly #own: PageRange[] = [];
  /** Numbers of pages that the process has and that did not come in the rounds. */
  readonly #absent = new Set<number>();
  #written = false;

  constructor(staged: StagedPages) {
    this.#staged = staged;
  }

  isOwn({ ranges }: OwnMessage): void {
    if (this.#written) throw new ComicranError('peer.protocol', 'OWN behind PAGES');
    this.#own.push(...ranges);
  }

  /** Before what was written last is. Does nothing the second time. */
  writeTo(writer: PageWriter): void {
    if (this.#written) return;
    this.#written = true;
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

  readonly #last: PageRange[] = [];

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
