/** A process on its way in: its image, and its pages, which are written while the next ones come. */
import { ComicranError } from '../../base/errors.ts';
import type {
  ImageMessage,
  PagesMessage,
  ReadyMessage,
  SketchMessage,
  SourceMessage,
  TakeMessage,
} from '../messages.ts';
import type { Clock, RestoringProcess } from '../ports.ts';
import type { DestinationBefore, DestinationLine } from '../roles.ts';
import { within } from '../waiting.ts';

/** Most bytes of pages that have come and are not written; the source waits while there are more. */
const MAX_BACKLOG_BYTES = 16 << 20;

export type ProcessIn = {
  /** Pages may be missing when the process is finished. */
  readonly lazy?: boolean;
  /** The first part of the image, where it has been received already. */
  readonly firstPart?: ImageMessage;
  /** What else may come behind the image. @returns false: not this message */
  readonly also?: (message: SourceMessage, writer: PageWriter) => boolean;
  /** Told of pages that are about to be written. */
  readonly onPages?: (message: PagesMessage) => void;
  /** Done when everything has come and is written. */
  readonly complete?: () => Promise<void>;
};

/** Complete and stopped, with what is to be said of it. */
export type ReceivedProcess = { readonly process: RestoringProcess; readonly ready: ReadyMessage };

/** Receives the image, then the pages up to END, and finishes the process: complete, and stopped. */
export async function receiveProcess(
  before: DestinationBefore,
  { lazy = false, firstPart, also, onPages, complete }: ProcessIn = {},
): Promise<ReceivedProcess> {
  const { line, phases, deadlines, ports, signal } = before;
  phases.enter('image');
  const image = await receiveImage(before, firstPart);
  phases.enter('build');
  const beganMicros = ports.clock.nowMicros();
  let builtMicros = beganMicros;
  const building = before.begin(image, { lazy }).finally(() => {
    builtMicros = ports.clock.nowMicros();
  });
  const writer = new PageWriter(building, line, ports.clock, deadlines.stepMs);
  phases.enter('pages');
  for (;;) {
    const message = await writer.orFailure(line.receive(deadlines.stepMs, 'PAGES'));
    if (also?.(message, writer) === true) continue;
    if (message.type === 'PAGES') {
      phases.addBytes(message.bytes.length);
      onPages?.(message);
      await writer.add(message);
      continue;
    }
    if (message.type !== 'END') throw line.unexpected(message, 'PAGES or END');
    if (message.pageBytes !== BigInt(writer.receivedBytes))
      throw new ComicranError(
        'peer.protocol',
        `${writer.receivedBytes} bytes of pages have come, END says ${message.pageBytes}`,
      );
    break;
  }
  const process = await writer.finish();
  await complete?.();
  const writtenMicros = ports.clock.nowMicros();
  phases.enter('finish');
  await within(ports.clock, deadlines.stepMs, 'finishing the process', process.finish(), { signal });
  return {
    process,
    ready: {
      type: 'READY',
      beginMicros: duration(beganMicros, builtMicros),
      pagesMicros: duration(builtMicros, writtenMicros),
      finishMicros: duration(writtenMicros, ports.clock.nowMicros()),
    },
  };
}

/** Says READY and waits for TAKE. */
export async function exchangeReady(
  { line, phases, deadlines, migration }: DestinationBefore,
  ready: ReadyMessage,
): Promise<TakeMessage> {
  phases.enter('offer');
  await line.send(ready, deadlines.stepMs);
  return checkTake(await line.expect('TAKE', deadlines.stepMs), migration.epoch);
}

/** @throws ComicranError peer.protocol */
export function checkTake(take: TakeMessage, epoch: bigint): TakeMessage {
  if (take.expectedEpoch === epoch) return take;
  throw new ComicranError('peer.protocol', `TAKE for epoch ${take.expectedEpoch}, this migration is at ${epoch}`);
}

/** As it fits a message: an hour is as good as more. */
export function duration(fromMicros: number, toMicros: number): number {
  return Math.min(Math.max(0, Math.round(toMicros - fromMicros)), 0xffff_ffff);
}

async function receiveImage(before: DestinationBefore, firstPart: ImageMessage | undefined): Promise<Uint8Array> {
  const { line, deadlines } = before;
  const first = firstPart ?? (await line.expect('IMAGE', deadlines.stepMs));
  return receiveParts(before, first, () => line.expect('IMAGE', deadlines.stepMs));
}

/** An image, or a sketch. */
export async function receiveParts<Part extends ImageMessage | SketchMessage>(
  { line, phases }: DestinationBefore,
  first: Part,
  next: () => Promise<Part>,
): Promise<Uint8Array> {
  let image: Uint8Array | undefined;
  let received = 0;
  do {
    const part = image === undefined ? first : await next();
    image ??= new Uint8Array(part.totalBytes);
    if (part.totalBytes !== image.length || part.offset !== received)
      throw new ComicranError(
        'peer.protocol',
        `part ${part.offset} of an image of ${part.totalBytes} bytes, where ${received} of ${image.length} had come`,
      );
    image.set(part.bytes, part.offset);
    received += part.bytes.length;
    if (part.bytes.length === 0 && received < image.length)
      throw new ComicranError('peer.protocol', 'an empty part of an image that is not whole');
    if (part.type === 'IMAGE') phases.addBytes(part.bytes.length);
    line.recycle(part);
  } while (received < image.length);
  return image;
}

/** Writes pages in the order in which they came, while the next ones are on their way. */
export class PageWriter {
  readonly #building: Promise<RestoringProcess>;
  readonly #line: DestinationLine;
  readonly #clock: Clock;
  readonly #stepMs: number;
  /** What is not written yet, oldest first. */
  readonly #backlog: { readonly bytes: number; readonly written: Promise<void> }[] = [];
  #backlogBytes = 0;
  readonly #failed: Promise<never>;
  #fail: (error: unknown) => void;
  #tail: Promise<void>;
  receivedBytes = 0;

  constructor(building: Promise<RestoringProcess>, line: DestinationLine, clock: Clock, stepMs: number) {
    this.#building = building;
    this.#line = line;
    this.#clock = clock;
    this.#stepMs = stepMs;
    const { promise, reject } = Promise.withResolvers<never>();
    this.#failed = promise;
    this.#fail = reject;
    this.#failed.catch(() => {});
    this.#tail = building.then(() => {});
    this.#tail.catch((error: unknown) => this.#fail(error));
  }

  /** The message, or the failure of a write or of the building where that comes first. */
  orFailure(message: Promise<SourceMessage>): Promise<SourceMessage> {
    return Promise.race([message, this.#failed]);
  }

  /** Does something with the process between what has come before and what comes later. */
  inBetween(step: (process: RestoringProcess) => Promise<void>): void {
    this.#tail = this.#tail.then(async () => step(await this.#building));
    this.#tail.catch((error: unknown) => this.#fail(error));
  }

  /** Resolves when there is room for more. */
  async add(message: PagesMessage): Promise<void> {
    this.receivedBytes += message.bytes.length;
    this.#backlogBytes += message.bytes.length;
    this.inBetween((process) => this.#write(process, message));
    this.#backlog.push({ bytes: message.bytes.length, written: this.#tail });
    while (this.#backlogBytes > MAX_BACKLOG_BYTES) {
      const oldest = this.#backlog.shift()!;
      await within(this.#clock, this.#stepMs, 'writing memory', oldest.written);
      this.#backlogBytes -= oldest.bytes;
    }
  }

  /** Resolves when everything is written. */
  async finish(): Promise<RestoringProcess> {
    await within(this.#clock, this.#stepMs, 'writing memory', this.#tail);
    return this.#building;
  }

  async #write(process: RestoringProcess, message: PagesMessage): Promise<void> {
    await process.writePages(message.ranges, message.bytes);
    this.#line.recycle(message);
  }
}
