/**
 * The record at the sdn over a record channel (api/record-channel.ts): the compare-and-set of one migration in a few
 * hundred microseconds, from the worker thread of that migration.
 */
import {
  decodeRecordAnswer,
  encodeRecordRequest,
  MAX_RECORD_MESSAGE_BYTES,
  type RecordAnswer,
  type RecordRequest,
} from '../../api/record-channel.ts';
import { ComicranError } from '../../base/errors.ts';
import { ipv4Bytes } from '../../base/ipv4.ts';
import type { TcpTuning } from '../../linux/tcp.ts';
import type { Ownership, OwnershipRecord } from '../../migration/ports.ts';
import { SecureChannel } from '../channel/channel.ts';
import { connectToPeer } from '../channel/establish.ts';
import type { Readiness } from '../readiness.ts';

/** Where the sdn waits for this migration, and the key of the channel (32 bytes). */
export type RecordAddress = { readonly address: string; readonly port: number; readonly key: Uint8Array };

const BUFFER_BYTES = 64 << 10;
const SILENCE_MS = 2_000;
/** An sdn that is silent for so long is asked in the other way. */
const ANSWER_MS = 250;

/** What a record channel can be asked for. */
export type QuickWay = Pick<Ownership, 'take' | 'give' | 'lead'>;

/** What a record needs of its channel. */
export type RecordLine = Pick<SecureChannel<RecordRequest, RecordAnswer>, 'send' | 'receive' | 'close'>;

export class FastRecord implements QuickWay, Disposable {
  readonly #channel: RecordLine;
  readonly #nowMs: () => number;
  readonly #answerMs: number;
  /** Requests go one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  /** Takes the channel over. @param patience how many times as long as usual an answer may take */
  constructor(channel: RecordLine, nowMs: () => number, patience: number) {
    this.#channel = channel;
    this.#nowMs = nowMs;
    this.#answerMs = ANSWER_MS * patience;
  }

  /** Has both sides do what a take will need, without its effect. @returns how long that took, in milliseconds. */
  async ping(): Promise<number> {
    const begunMs = this.#nowMs();
    await this.#record({ type: 'REHEARSE' });
    return this.#nowMs() - begunMs;
  }

  /** As {@link Ownership}. @param expectedEpoch the one that the channel was opened for. */
  async take(expectedEpoch: bigint): Promise<OwnershipRecord> {
    return this.#record({ type: 'TAKE', expectedEpoch });
  }

  async give(expectedEpoch: bigint): Promise<OwnershipRecord> {
    return this.#record({ type: 'GIVE_BACK', expectedEpoch });
  }

  async lead(): Promise<void> {
    await this.#record({ type: 'LEAD' });
  }

  async #record(request: RecordRequest): Promise<OwnershipRecord> {
    const answer = await this.#ask(request);
    if (answer.type === 'RECORD') return { owner: answer.owner, epoch: answer.epoch };
    throw new ComicranError(answer.code, answer.message);
  }

  /** May be repeated. */
  close(): void {
    this.#channel.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #ask(request: RecordRequest): Promise<RecordAnswer> {
    const asked = this.#last.then(async () => {
      void this.#channel.send(request);
      return this.#channel.receive(this.#answerMs);
    });
    // An answer that comes too late would be taken for that of the next request.
    this.#last = asked.catch(() => this.close());
    return asked;
  }
}

/**
 * @param patience how many times as long as usual the answers to what is asked may take, where machines are slow
 * @throws ComicranError vm.unreachable, peer.refused, deadline
 */
export async function openFastRecord(
  { address, port, key }: RecordAddress,
  readiness: Readiness,
  timeoutMs: number,
  patience = 1,
): Promise<FastRecord> {
  const tuning: TcpTuning = { bufferBytes: BUFFER_BYTES, silenceMs: SILENCE_MS * patience };
  const where = { address: Buffer.from(ipv4Bytes(address)), port };
  const options = { key, readiness, maxMessageBytes: MAX_RECORD_MESSAGE_BYTES, tuning };
  const connection = await connectToPeer(where, timeoutMs, options);
  const encode = (request: RecordRequest): readonly Uint8Array[] => [encodeRecordRequest(request)];
  const codec = { encode, decode: decodeRecordAnswer };
  const channel = new SecureChannel(connection, codec, MAX_RECORD_MESSAGE_BYTES, readiness);
  return new FastRecord(channel, () => readiness.nowMs(), patience);
}
