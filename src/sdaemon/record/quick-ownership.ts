import { messageOf } from '../../base/errors.ts';
import type { Ownership, OwnershipRecord, TakeoverOrder } from '../../migration/ports.ts';
import type { Readiness } from '../readiness.ts';
import { type FastRecord, openFastRecord, type QuickWay, type RecordAddress } from './fast-record.ts';

const CONNECT_MS = 2_000;
/** Before the first, code is being compiled on both sides. */
const FIRST_REHEARSALS = 60;
const REHEARSE_EVERY_MS = 20;
const REOPEN_MS = 500;

const sleep = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * The record by its channel, while that works, and else in the ordinary way: the same compare-and-set, which may be asked
 * for twice. Begins to connect and to rehearse when it is made, and goes on rehearsing until it is asked.
 */
export class QuickOwnership implements Ownership, Disposable {
  readonly #ordinary: Ownership;
  readonly #onFailure: (reason: string) => void;
  readonly #patience: number;
  #fast: FastRecord | undefined;
  #closed = false;
  #asked = false;
  #told = false;

  /** @param onFailure told once, of why the ordinary way is taken. @param patience as of {@link openFastRecord} */
  constructor(
    record: RecordAddress | undefined,
    readiness: Readiness,
    ordinary: Ownership,
    onFailure: (reason: string) => void,
    patience = 1,
  ) {
    this.#ordinary = ordinary;
    this.#onFailure = onFailure;
    this.#patience = patience;
    if (record !== undefined) void this.#keepOpen(record, readiness);
  }

  /** Whether the channel is open, and works. */
  get isQuick(): boolean {
    return this.#fast !== undefined;
  }

  take(expectedEpoch: bigint): Promise<OwnershipRecord> {
    return this.#ask((way) => way.take(expectedEpoch));
  }

  give(expectedEpoch: bigint): Promise<OwnershipRecord> {
    return this.#ask((way) => way.give(expectedEpoch));
  }

  lead(): Promise<void> {
    return this.#ask((way) => way.lead());
  }

  /** In the ordinary way, whose answer means that it is on the disk and in the kernel. */
  takeOver(expectedEpoch: bigint, order: TakeoverOrder): Promise<OwnershipRecord> {
    this.#asked = true;
    return this.#ordinary.takeOver(expectedEpoch, order);
  }

  /** Whoever looks has time, and need not rehearse. */
  look(): Promise<OwnershipRecord | undefined> {
    this.#asked = true;
    return this.#ordinary.look();
  }

  /** May be repeated. */
  close(): void {
    this.#closed = true;
    this.#fast?.close();
    this.#fast = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #ask<Answer>(ask: (way: QuickWay) => Promise<Answer>): Promise<Answer> {
    this.#asked = true;
    if (this.#fast !== undefined) {
      try {
        return await ask(this.#fast);
      } catch (thrown) {
        this.#failed(thrown);
      }
    }
    return ask(this.#ordinary);
  }

  /** Until it has been asked. */
  async #keepOpen(record: RecordAddress, readiness: Readiness): Promise<void> {
    while (!this.#over) {
      try {
        await this.#rehearse(await openFastRecord(record, readiness, CONNECT_MS * this.#patience, this.#patience));
      } catch (thrown) {
        this.#failed(thrown);
        await sleep(REOPEN_MS);
      }
    }
  }

  async #rehearse(fast: FastRecord): Promise<void> {
    if (this.#over) {
      fast.close();
      return;
    }
    this.#fast = fast;
    for (let i = 0; !this.#over; i++) {
      await fast.ping();
      if (i >= FIRST_REHEARSALS) await sleep(REHEARSE_EVERY_MS);
    }
  }

  get #over(): boolean {
    return this.#closed || this.#asked;
  }

  #failed(thrown: unknown): void {
    if (this.#closed) return;
    this.#fast?.close();
    this.#fast = undefined;
    if (!this.#told) this.#onFailure(messageOf(thrown));
    this.#told = true;
  }
}
