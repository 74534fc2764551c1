/**
 * Postcopy, the destination behind the hand-over: it runs, and the rest of its memory comes. The source hears how much is
 * missing, and that nothing is, over whichever connection it comes on, until it has said that its process has ended.
 */
import { ComicranError } from '../base/errors.ts';
import type { Intake, Visitors } from './hand-over-destination.ts';
import type { Leftovers } from './leftovers.ts';
import { Line } from './line.ts';
import { PAGE_BYTES, type SourceMessage } from './messages.ts';
import type { Fill, FillCounts } from './ports.ts';
import type { DestinationAfter, DestinationLine } from './roles.ts';
import { Deadline, sleep } from './waiting.ts';

/** Between two words of how much is missing. */
const REPORT_MS = 200;

type Event =
  | { readonly kind: 'line'; readonly line: DestinationLine }
  | { readonly kind: 'message'; readonly message: SourceMessage }
  | { readonly kind: 'broken'; readonly error: unknown }
  | { readonly kind: 'filled'; readonly counts: FillCounts }
  | { readonly kind: 'failed'; readonly error: unknown }
  | { readonly kind: 'time' };

export type FillOptions = {
  readonly epoch: bigint;
  /** The one that the hand-over went over, where it is good. */
  readonly line: DestinationLine | undefined;
  readonly intake: Intake;
  readonly visitors: Visitors;
  /** When the process was let run. */
  readonly runningMicros: number;
  /** Nothing is missing any more; the source does not know it yet. */
  readonly onFilled: () => Promise<void>;
};

export type FillEnd = { readonly counts: FillCounts; readonly fillMicros: number };

/**
 * @returns when nothing is missing and the source knows it, or cannot be reached
 * @throws ComicranError what is missing will not come, or has not come for too long
 */
export async function attendFill(
  context: DestinationAfter,
  fill: Fill,
  options: FillOptions,
  leftovers: Leftovers,
): Promise<FillEnd> {
  return new FillAttendance(context, fill, options, leftovers).run();
}

class FillAttendance {
  readonly #context: DestinationAfter;
  readonly #fill: Fill;
  readonly #options: FillOptions;
  readonly #leftovers: Leftovers;
  #line: DestinationLine | undefined;
  #end: FillEnd | undefined;
  #freed = false;
  #missing = Number.POSITIVE_INFINITY;
  /** Until when a page must have come, or the source must have been heard of. */
  #patience: Deadline;

  constructor(context: DestinationAfter, fill: Fill, options: FillOptions, leftovers: Leftovers) {
    this.#context = context;
    this.#fill = fill;
    this.#options = options;
    this.#leftovers = leftovers;
    this.#line = options.line;
    this.#patience = new Deadline(context.ports.clock, context.deadlines.fillMs);
  }

  async run(): Promise<FillEnd> {
    const { ports, deadlines, migration } = this.#context;
    const filled: Promise<Event> = this.#fill.filled().then(
      (counts) => ({ kind: 'filled', counts }),
      (error: unknown) => ({ kind: 'failed', error }),
    );
    const { visitors } = this.#options;
    let heard: Promise<Event> | undefined;
    while (!this.#freed) {
      if (this.#patience.over) {
        if (this.#end === undefined) throw stuck(migration.source, this.#missing);
        this.#leftovers.add(
          'telling the source that it is not needed any more',
          `${migration.source} cannot be reached`,
        );
        break;
      }
      const alone = this.#line === undefined;
      heard ??= hear(visitors, this.#line, Math.max(deadlines.fillMs, deadlines.confirmMs));
      const time = sleep(ports.clock, REPORT_MS).then((): Event => ({ kind: 'time' }));
      const event = await Promise.race(this.#end === undefined ? [heard, filled, time] : [heard, time]);
      // Where nobody can come any more, nobody is listened for.
      if (event.kind === 'broken' && alone) heard = NEVER;
      else if (event.kind === 'line' || event.kind === 'message' || event.kind === 'broken') heard = undefined;
      await this.#take(event);
    }
    this.#line?.close();
    return this.#end ?? { counts: NOTHING, fillMicros: 0 };
  }

  async #take(event: Event): Promise<void> {
    const { ports, deadlines } = this.#context;
    const { intake, epoch } = this.#options;
    switch (event.kind) {
      case 'line':
        this.#line?.close();
        this.#line = event.line;
        await this.#say(() =>
          event.line.send({ type: 'RECEIVED', epoch, datagrams: intake.received }, deadlines.stepMs),
        );
        await this.#tell();
        break;
      case 'message':
        await this.#hear(event.message);
        break;
      case 'broken':
        this.#line?.close();
        this.#line = undefined;
        break;
      case 'filled':
        this.#end = { counts: event.counts, fillMicros: ports.clock.nowMicros() - this.#options.runningMicros };
        this.#patience = new Deadline(ports.clock, deadlines.confirmMs);
        await this.#options.onFilled();
        await this.#tell();
        break;
      case 'failed':
        throw event.error;
      case 'time':
        if (this.#end === undefined) await this.#report();
    }
  }

  async #hear(message: SourceMessage): Promise<void> {
    const { intake } = this.#options;
    if (message.type === 'FREED') {
      this.#freed = true;
      return;
    }
    try {
      const drained = await intake.take(message, this.#line);
      if (drained) await this.#say((line) => line.send(intake.handedOver, this.#context.deadlines.stepMs));
    } catch (error) {
      this.#leftovers.add('taking over datagrams', error);
      this.#line?.close();
      this.#line = undefined;
    }
  }

  async #report(): Promise<void> {
    const { ports, deadlines, phases } = this.#context;
    const missingPages = await this.#fill.missingPages();
    if (missingPages < this.#missing) this.#patience = new Deadline(ports.clock, deadlines.fillMs);
    this.#missing = missingPages;
    phases.setMissing(missingPages * PAGE_BYTES);
    await this.#say((line) => line.send({ type: 'FILLING', missingPages }, deadlines.stepMs));
  }

  /** That nothing is missing, where that is so. */
  async #tell(): Promise<void> {
    const end = this.#end;
    if (end === undefined) return;
    const { faults, faultedPages, filledPages, faultMicros, ended } = end.counts;
    const fillMicros = Math.min(Math.round(end.fillMicros), 0xffff_ffff);
    const counts = { faults, faultedPages, filledPages, faultMicros: Math.round(faultMicros), fillMicros, ended };
    await this.#say((line) => line.send({ type: 'FILLED', ...counts }, this.#context.deadlines.stepMs));
  }

  /** Where it is not heard, the source comes back. */
  async #say(say: (line: DestinationLine) => Promise<void>): Promise<void> {
    if (this.#line !== undefined) await say(this.#line).catch(() => undefined);
  }
}

const NEVER = new Promise<never>(() => {});
const NOTHING: FillCounts = { faults: 0, faultedPages: 0, filledPages: 0, faultMicros: 0, ended: undefined };

async function hear(visitors: Visitors, line: DestinationLine | undefined, timeoutMs: number): Promise<Event> {
  try {
    const event = await visitors.orMessageOf(line, timeoutMs);
    return event instanceof Line ? { kind: 'line', line: event } : { kind: 'message', message: event };
  } catch (error) {
    return { kind: 'broken', error };
  }
}

function stuck(source: string, missingPages: number): ComicranError {
  return new ComicranError(
    'peer.died',
    `${missingPages} pages are missing, and none has come from ${source} for long`,
    {
      hint: `The process waits for them: bring ${source} back, or end it.`,
    },
  );
}
