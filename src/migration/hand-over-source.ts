/**
 * The datagrams that came while nobody ran, from the source's sockets to the destination. Every one is kept until the
 * destination has confirmed all of them, so that a connection that breaks in between loses none and doubles none.
 */
import { ComicranError } from '../base/errors.ts';
import { encodedDatagramBytes } from './codec-fields.ts';
import { awaitFilled } from './fill-source.ts';
import { advance, type SourceEntry } from './journal.ts';
import { Led } from './led.ts';
import type { Leftovers } from './leftovers.ts';
import { DATAGRAMS_UNKNOWN, type FilledMessage, MAX_PART_BYTES } from './messages.ts';
import { leadsLate } from './modes.ts';
import { reconnect, type Verdict } from './offer.ts';
import { type Moved, withPlace } from './outcome.ts';
import type { CarriedDatagram, StoppedProcess } from './ports.ts';
import type { SourceAfter, SourceLine } from './roles.ts';
import { Deadline, sleep, within } from './waiting.ts';

/** Far beyond what the receive buffers of a sandbox's sockets hold. What comes behind it is dropped and counted. */
const MAX_CARRIED_BYTES = 256 << 20;

export type SourceEnd = {
  readonly datagrams: Moved['datagrams'];
  readonly filled: FilledMessage | undefined;
  /** The process is needed and stays, stopped, with the journal's entry: nothing is heard of the destination. */
  readonly halted?: ComicranError;
};

/**
 * The end of a source whose destination owns: hands over, then ends the process. Does not throw.
 * @param entry of the journal, at `offered`, `given` or `filled`
 */
export async function endGiven(
  context: SourceAfter,
  entry: SourceEntry,
  verdict: Extract<Verdict, { readonly kind: 'given' }>,
  process: StoppedProcess,
  leftovers: Leftovers,
): Promise<SourceEnd> {
  const { ports, migration, phases, deadlines } = context;
  const isPaged = migration.mode === 'postcopy';
  let line = verdict.line;
  let handedOver: HandedOver = { carried: 0, dropped: 0, confirmed: false, failures: [], line };
  let filled: FilledMessage | undefined;
  if (entry.stage !== 'filled') {
    phases.speak();
    phases.enter('hand-over');
    const given = advance(entry, 'given');
    await leftovers.tidy('noting that the destination owns', () => ports.journal.write(given));
    if (line === undefined && verdict.first === DATAGRAMS_UNKNOWN) {
      // Taken over: what waits in its sockets goes with the process.
    } else if (line === undefined) {
      leftovers.add('handing over datagrams', `${migration.destination} cannot be reached`);
      // A paged one stays, with what waits in its sockets.
      if (!isPaged) handedOver = await countLost(context);
    } else if (verdict.first === DATAGRAMS_UNKNOWN) handedOver = { ...(await countLost(context)), line };
    else handedOver = await handOver(context, line, verdict.first);
    line = handedOver.line;
    for (const failure of handedOver.failures) leftovers.add('handing over datagrams', failure);
    if (isPaged) {
      phases.enter('fill');
      try {
        ({ filled, line } = await awaitFilled(context, line));
      } catch (error) {
        const halted = withPlace(error, `the process of ${migration.sandbox} is kept at ${migration.source}`);
        return { datagrams: datagramsOf(handedOver), filled, halted };
      }
      // Should this program end here, the next one need not ask: the destination may not be there to answer any more.
      const noted = advance(given, 'filled');
      await leftovers.tidy('noting that the destination has all', () => ports.journal.write(noted));
    }
  }
  phases.enter('end');
  // Where the process is still there, so is the entry: the next daemon ends it.
  if (await leftovers.tidy('ending the process', () => process.kill())) {
    if (isPaged) await line?.send({ type: 'FREED' }, deadlines.handOverMs).catch(() => undefined);
    await leftovers.tidy('clearing the journal', () => ports.journal.clear(migration.id));
  }
  line?.close();
  return { datagrams: datagramsOf(handedOver), filled };
}

function datagramsOf({ carried, dropped, confirmed }: HandedOver): Moved['datagrams'] {
  return { carried, dropped, confirmed };
}

type HandedOver = {
  readonly carried: number;
  readonly dropped: number;
  readonly confirmed: boolean;
  /** Why it is not confirmed, or the sockets could not be read to the end. */
  readonly failures: readonly unknown[];
  /** Where the destination can be heard. */
  readonly line: SourceLine | undefined;
};

/** Nobody takes what waits in the sockets: it goes with the process, and is told as dropped. */
async function countLost({ ports, deadlines }: SourceAfter): Promise<HandedOver> {
  let lost = 0;
  const count = (): void => {
    lost++;
  };
  const drainMs = deadlines.handOverMs / 4;
  const failures: unknown[] = [];
  const dropped = await within(ports.clock, drainMs * 2, 'draining the sockets', ports.packets.drain(count, drainMs))
    .then((drained) => drained.dropped)
    .catch((error: unknown) => {
      failures.push(error);
      return 0;
    });
  return { carried: 0, dropped: dropped + lost, confirmed: false, failures, line: undefined };
}

/**
 * Drains the process's sockets into the destination. The destination owns.
 * @param first number of the first datagram that it has not had
 */
async function handOver(context: SourceAfter, line: SourceLine, first: number): Promise<HandedOver> {
  const { ports, deadlines, migration } = context;
  const led = new Led(ports.clock, leadsLate(migration.mode) ? deadlines.leadMs : 0);
  const time = new HandOverTime(led, deadlines.handOverMs);
  const failures: unknown[] = [];
  const queue = new DatagramQueue(first);
  // Half of the time is left for the destination to get them, and some of that for a second connection.
  const drainMs = deadlines.handOverMs / 2;
  const answerMs = deadlines.handOverMs / 4;
  // A port may also throw at once: the destination is to hear all the same that no more comes.
  const drain = async () => ports.packets.drain(queue.add, drainMs, led.over);
  const draining = within(ports.clock, time.remainingMs, 'draining the sockets', drain())
    .then(({ dropped }) => dropped)
    .catch((error: unknown) => {
      failures.push(error);
      return 0;
    })
    .finally(() => queue.end());

  let current: SourceLine | undefined = line;
  let confirmed = false;
  while (!confirmed && !time.over) {
    try {
      if (current === undefined) {
        const patienceMs = Math.min(deadlines.handOverMs, time.remainingMs);
        current = await reconnect(context, new Deadline(ports.clock, patienceMs));
        const { datagrams } = await current.expect('RECEIVED', Math.min(answerMs, time.remainingMs));
        if (datagrams === DATAGRAMS_UNKNOWN) {
          failures.push(`${migration.destination} does not know any more which datagrams it has had`);
          break;
        }
        queue.goBackTo(datagrams);
      }
      await Promise.race([sendAll(queue, current, time), led.listen(current)]);
      await expectHandedOver(current, new Deadline(ports.clock, Math.min(answerMs, time.remainingMs)));
      confirmed = true;
    } catch (error) {
      failures.push(error);
      queue.endTurn();
      current?.close();
      current = undefined;
      led.alone(deadlines.handOverMs);
      await sleep(ports.clock, Math.min(deadlines.retryMs / 64, time.remainingMs));
    }
  }
  led.end();
  const dropped = (await draining) + queue.dropped;
  return { carried: queue.total - first, dropped, confirmed, failures: confirmed ? [] : failures, line: current };
}

/** So long behind the moment from which the network leads elsewhere. */
class HandOverTime {
  readonly #led: Led;
  readonly #milliseconds: number;

  constructor(led: Led, milliseconds: number) {
    this.#led = led;
    this.#milliseconds = milliseconds;
  }

  get remainingMs(): number {
    return Math.max(0, this.#milliseconds - this.#led.sinceMs);
  }

  get over(): boolean {
    return this.remainingMs === 0;
  }
}

async function sendAll(queue: DatagramQueue, line: SourceLine, time: HandOverTime): Promise<void> {
  const turn = queue.beginTurn();
  for (let batch = await queue.next(turn); batch !== undefined; batch = await queue.next(turn))
    await line.send({ type: 'DATAGRAMS', ...batch }, time.remainingMs);
  if (queue.isTurn(turn)) await line.send({ type: 'DRAINED', total: queue.total }, time.remainingMs);
}

/** It may be said after nobody has waited for it any more that the network leads there. */
async function expectHandedOver(line: SourceLine, deadline: Deadline): Promise<void> {
  for (;;) {
    const message = await line.receive(deadline.remainingMs, 'HANDED_OVER');
    if (message.type === 'HANDED_OVER') return;
    if (message.type !== 'LED') throw line.unexpected(message, 'HANDED_OVER');
  }
}

/** Datagrams in the order in which they were read, with a place in it that says what has been sent. */
class DatagramQueue {
  readonly #first: number;
  readonly #datagrams: CarriedDatagram[] = [];
  #bytes = 0;
  #sent = 0;
  #ended = false;
  #turn = 0;
  #wake: (() => void) | undefined;
  dropped = 0;

  constructor(first: number) {
    this.#first = first;
  }

  /** Number behind the last datagram. */
  get total(): number {
    return this.#first + this.#datagrams.length;
  }

  readonly add = (datagram: CarriedDatagram): void => {
    const bytes = encodedDatagramBytes(datagram);
    if (this.#bytes + bytes > MAX_CARRIED_BYTES) {
      this.dropped++;
      return;
    }
    this.#bytes += bytes;
    this.#datagrams.push(datagram);
    this.#wake?.();
  };

  /** No more will be added. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  /** Who sends from now on; whoever did before gets no more. */
  beginTurn(): number {
    return ++this.#turn;
  }

  endTurn(): void {
    this.#turn++;
    this.#wake?.();
  }

  isTurn(turn: number): boolean {
    return turn === this.#turn;
  }

  /** The destination has had all before this number. */
  goBackTo(number: number): void {
    const sent = number - this.#first;
    if (sent < 0 || sent > this.#datagrams.length)
      throw new ComicranError('peer.protocol', `${number} datagrams received, of ${this.total} that there are`);
    this.#sent = sent;
  }

  /** Everything that is there and fits one message, waiting for at least one; undefined at the end, or that of the turn. */
  async next(
    turn: number,
  ): Promise<{ readonly first: number; readonly datagrams: readonly CarriedDatagram[] } | undefined> {
    while (this.#sent === this.#datagrams.length) {
      if (this.#ended || !this.isTurn(turn)) return undefined;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
      this.#wake = undefined;
    }
    if (!this.isTurn(turn)) return undefined;
    const from = this.#sent;
    let bytes = 0;
    while (this.#sent < this.#datagrams.length) {
      bytes += encodedDatagramBytes(this.#datagrams[this.#sent]!);
      if (bytes > MAX_PART_BYTES) break;
      this.#sent++;
    }
    return { first: this.#first + from, datagrams: this.#datagrams.slice(from, this.#sent) };
  }
}
