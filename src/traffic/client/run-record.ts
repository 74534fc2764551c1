/**
 * What happened to each request of a run, as it is recorded while the run goes on. No sockets and no clock in here: the
 * times are given, in microseconds since the run's start.
 */
import type { Numbering } from './numbering.ts';

/** The last word is of a server whose answers depend on its clock or on chance; it belongs to no check. */
const ANSWER = /^([0-9]+)(?: ([0-9]{1,15}))?(?: (?:clock|random)=[0-9a-f]{1,32})?$/;

export class RunRecord {
  readonly numbering: Numbering;
  /** Requests per second; request i is due at i / rate. */
  readonly rate: number;
  /** When each request was handed to the kernel. */
  readonly sentUs: Float64Array;
  /** When the first answer to each request was received; NaN: never. */
  readonly answeredUs: Float64Array;
  /** The server's counter in that answer; NaN: the answer had none. */
  readonly counters: Float64Array;
  sent = 0;
  answered = 0;
  duplicated = 0;
  wrong = 0;
  reordered = 0;
  /** Counters in answers that were not the first to their request. */
  readonly counterOfDuplicates: number[] = [];
  /** The first wrong datagrams, cut short, for the reader of the report. */
  readonly wrongSamples: string[] = [];
  maxGapUs = 0;
  #lastAnswerUs = 0;
  #highestAnswered = -1;

  /** @param capacity most requests that will be sent. */
  constructor(capacity: number, rate: number, numbering: Numbering) {
    this.numbering = numbering;
    this.rate = rate;
    this.sentUs = new Float64Array(capacity);
    this.answeredUs = new Float64Array(capacity).fill(Number.NaN);
    this.counters = new Float64Array(capacity).fill(Number.NaN);
  }

  get capacity(): number {
    return this.sentUs.length;
  }

  intendedUs(index: number): number {
    return (index * 1e6) / this.rate;
  }

  /** Takes the next request as sent. @returns what it must say. */
  send(atUs: number): string {
    const index = this.sent++;
    this.sentUs[index] = atUs;
    if (index === 0) this.#lastAnswerUs = atUs;
    return this.numbering.request(index);
  }

  /** A datagram from the server. */
  receive(datagram: string, atUs: number): void {
    const match = ANSWER.exec(datagram);
    const index = match === null ? undefined : this.numbering.indexOf(match[1]!);
    if (match === null || index === undefined || index >= this.sent) {
      this.wrong++;
      if (this.wrongSamples.length < 5) this.wrongSamples.push(datagram.slice(0, 80));
      return;
    }
    const counter = match[2] === undefined ? Number.NaN : Number(match[2]);
    if (!Number.isNaN(this.answeredUs[index]!)) {
      this.duplicated++;
      if (!Number.isNaN(counter)) this.counterOfDuplicates.push(counter);
      return;
    }
    this.answeredUs[index] = atUs;
    this.counters[index] = counter;
    this.answered++;
    // Type-P-Reordered of RFC 4737: it comes behind one that was sent later.
    if (index < this.#highestAnswered) this.reordered++;
    else this.#highestAnswered = index;
    this.#gap(atUs);
  }

  /** No more requests will be sent: silence up to the last one counts as a gap, also where no answer ends it. */
  finish(): void {
    if (this.sent > 0) this.#gap(this.sentUs[this.sent - 1]!);
  }

  #gap(untilUs: number): void {
    if (untilUs <= this.#lastAnswerUs) return;
    this.maxGapUs = Math.max(this.maxGapUs, untilUs - this.#lastAnswerUs);
    this.#lastAnswerUs = untilUs;
  }
}
