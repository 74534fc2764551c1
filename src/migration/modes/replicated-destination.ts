/** A silent copy, fed with the input of the process at the source, and let out when nothing tells them apart. */
import { ComicranError } from '../../base/errors.ts';
import type { Flow } from '../../base/traffic-log.ts';
import type { LogEndMessage, LogMessage, SourceMessage } from '../messages.ts';
import type { Difference, LogCount, ReplayStatus, RestoringProcess } from '../ports.ts';
import type { DestinationBefore, DestinationLine, DestinationMode, DestinationPrepared } from '../roles.ts';
import { receiveCopied } from './copied-in.ts';
import { isSilence, keepCopy } from './kept-copy.ts';
import { checkTake } from './pages-in.ts';
import { step } from './step.ts';

/** Longest wait for a word of the source's or an answer of the copy's before both are looked at. */
const LOOK_MS = 2;

export const receiveReplicated: DestinationMode['receive'] = async (before) => {
  const { ports, deadlines, line, phases } = before;
  const { replay } = ports;
  const copy = new Copy(before);
  const { process, ready } = await receiveCopied(before, (message) => {
    if (message.type === 'LOG') copy.play(message);
    return message.type === 'LOG';
  });
  phases.enter('follow');
  await step(before, 'holding back what the copy sends', replay.shut());
  await step(before, 'letting the copy run', process.rehearse());
  await line.send(ready, deadlines.stepMs);
  const take = await untilTake(before, copy, process);
  return {
    ...{ process, take, passDirectly: true },
    conclude: (isTaken) => copy.conclude(isTaken),
    async open() {
      const released = await replay.release();
      await process.run();
      return { replayed: copy.status.injected, compared: copy.status.compared, released };
    },
    opened: () => replay.open(),
  };
};

/** @returns as {@link DestinationPrepared.take} */
async function untilTake(
  before: DestinationBefore,
  copy: Copy,
  process: RestoringProcess,
): Promise<DestinationPrepared['take']> {
  const { deadlines, migration, ordered } = before;
  try {
    return checkTake(await copy.followUntil('TAKE', deadlines.stepMs, () => false), migration.epoch);
  } catch (cause) {
    if (ordered === undefined || !isSilence(before, cause)) throw cause;
    const order = await keepCopy({ ...before, ordered }, { process, isLevel: () => copy.isLevel(), cause });
    return { order, heardMicros: copy.heardMicros, hasWholeLog: copy.hasWholeLog };
  }
}

class Copy {
  readonly #before: DestinationBefore;
  readonly #line: DestinationLine;
  #incoming: Promise<SourceMessage> | undefined;
  #arrived: SourceMessage | undefined;
  #reported: ReplayStatus | undefined;
  #end: LogEndMessage | undefined;
  /** What has come of the log. */
  #inputs = 0;
  #outputs = 0;
  /** When the source has last said something. */
  heardMicros: number;
  status: ReplayStatus = { injected: 0, compared: 0, held: 0, difference: undefined };

  constructor(before: DestinationBefore) {
    this.#before = before;
    this.#line = before.line;
    this.heardMicros = before.ports.clock.nowMicros();
  }

  play({ entries }: LogMessage): void {
    for (const { kind } of entries) {
      if (kind === 'input') this.#inputs++;
      else this.#outputs++;
    }
    this.#before.ports.replay.play(entries);
  }

  /** The source has said that there is no more of the log than this. */
  get hasWholeLog(): boolean {
    return this.#end !== undefined;
  }

  /** Does what can be done. @returns whether it has had, and has answered, all that has come. @throws as {@link followUntil} */
  isLevel(): boolean {
    this.#step();
    return reached(this.status, { inputs: this.#inputs, outputs: this.#outputs });
  }

  /**
   * Plays what comes, and reports how far the copy has got, until a message of this type comes.
   * @param isDue whether it must come in `silenceMs` now
   * @throws ComicranError replication.diverged, replication.overrun; peer.died, deadline
   */
  async followUntil<Type extends 'TAKE' | 'LOG_END'>(
    type: Type,
    silenceMs: number,
    isDue: () => boolean,
  ): Promise<Extract<SourceMessage, { readonly type: Type }>> {
    const { ports } = this.#before;
    let heardMicros = ports.clock.nowMicros();
    for (;;) {
      this.#step();
      this.#report();
      const message = await this.#next();
      if (message === undefined) {
        if (!isDue()) heardMicros = ports.clock.nowMicros();
        if (ports.clock.nowMicros() - heardMicros > silenceMs * 1000)
          throw new ComicranError('deadline', `the end of the log has not come in ${silenceMs} ms`);
        continue;
      }
      heardMicros = ports.clock.nowMicros();
      this.heardMicros = heardMicros;
      if (message.type === type) return message as Extract<SourceMessage, { readonly type: Type }>;
      // A source that holds the output rule ends its log before it says TAKE.
      if (message.type === 'LOG_END' && this.#end === undefined) {
        this.#end = message;
        continue;
      }
      if (message.type !== 'LOG') throw this.#line.unexpected(message, `LOG or ${type}`);
      this.play(message);
    }
  }

  /** Behind TAKE: until the copy has had all that the process had, and has answered as it did. @returns as {@link DestinationPrepared.conclude} */
  async conclude(isTaken: () => boolean): Promise<number> {
    const { ports, deadlines } = this.#before;
    const end = this.#end ?? (await this.followUntil('LOG_END', deadlines.ownedMs, isTaken));
    const heardMicros = ports.clock.nowMicros();
    const untilMicros = ports.clock.nowMicros() + deadlines.ownedMs * 1000;
    for (this.#step(); !reached(this.status, end); this.#step()) {
      const leftMs = (untilMicros - ports.clock.nowMicros()) / 1000;
      if (leftMs <= 0) throw behind(this.status, end);
      await ports.replay.wait(Math.min(LOOK_MS, leftMs));
    }
    return heardMicros;
  }

  #step(): void {
    this.status = this.#before.ports.replay.step();
    if (this.status.difference !== undefined) throw diverged(this.status.difference);
  }

  /** The next message, where there is one before there is something else to do. */
  async #next(): Promise<SourceMessage | undefined> {
    if (this.#incoming === undefined) {
      const incoming = this.#line.receive(this.#before.deadlines.stepMs, 'LOG');
      this.#incoming = incoming;
      incoming.then(
        (message) => {
          this.#arrived = message;
        },
        () => undefined,
      );
    }
    const { promise, resolve } = Promise.withResolvers<undefined>();
    void this.#before.ports.replay.wait(LOOK_MS).then(() => resolve(undefined));
    const first = await Promise.race([this.#incoming, promise]);
    const message = first ?? this.#arrived;
    if (message === undefined) return undefined;
    this.#arrived = undefined;
    this.#incoming = undefined;
    return message;
  }

  /** Does not wait: a report that is late is followed by a newer one. */
  #report(): void {
    const { injected, compared, held } = this.status;
    const last = this.#reported;
    if (last !== undefined && last.injected === injected && last.compared === compared && last.held === held) return;
    this.#reported = this.status;
    const { deadlines } = this.#before;
    // Where the connection is gone, receiving says so.
    this.#line.send({ type: 'REPORT', injected, compared, held }, deadlines.stepMs).catch(() => {});
  }
}

function reached(status: ReplayStatus, end: LogCount): boolean {
  return status.injected >= end.inputs && status.compared >= end.outputs;
}

function behind(status: ReplayStatus, end: LogEndMessage): ComicranError {
  return new ComicranError(
    'replication.lagging',
    `the copy had ${status.injected} of ${end.inputs} datagrams and made ${status.compared} of ${end.outputs} answers when time was up`,
  );
}

function diverged({ flow, index, expected, found }: Difference): ComicranError {
  return new ComicranError(
    'replication.diverged',
    `the copy differs in output ${index} of ${nameOf(flow)}: it sent ${found.length} bytes (${textOf(found.beginning)}), the original ${expected.length === found.length ? 'as many, but others' : `${expected.length} bytes`}`,
    {
      hint: 'Its answers depend on more than its input: time, random numbers or the order of threads. Use another mode, or, for what it sends by timer alone, --uncompared PORT.',
    },
  );
}

function nameOf({ localAddress, localPort, remoteAddress, remotePort }: Flow): string {
  return `${localAddress.join('.')}:${localPort} to ${remoteAddress.join('.')}:${remotePort}`;
}

/** What there is of it, as text where it is some. */
function textOf(beginning: Uint8Array): string {
  const text = Buffer.from(beginning).toString('latin1');
  return /^[\x20-\x7e\s]*$/.test(text) ? JSON.stringify(text) : Buffer.from(beginning).toString('hex');
}
