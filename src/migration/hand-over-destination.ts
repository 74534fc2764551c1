/**
 * The datagrams that came while nobody ran, from the source into the sandbox; over a second connection where the first
 * one breaks.
 */
import { ComicranError } from '../base/errors.ts';
import type { Migration } from './journal.ts';
import type { Leftovers } from './leftovers.ts';
import { Line } from './line.ts';
import type { DatagramsMessage, DestinationMessage, GivenBackMessage, SourceMessage } from './messages.ts';
import type { Channel, DestinationPorts } from './ports.ts';
import type { DestinationAfter, DestinationLine } from './roles.ts';
import { Deadline, within } from './waiting.ts';

export type TakenOver = {
  readonly injected: number;
  readonly complete: boolean;
  /** Where the source waits for HANDED_OVER. */
  readonly line: DestinationLine | undefined;
};

/**
 * Injects what the source carries over, until it says that there is no more, or time is up. This machine owns; OWNED has
 * been sent on `line`, or could not be.
 */
export async function takeOver(
  context: DestinationAfter,
  line: DestinationLine,
  epoch: bigint,
  leftovers: Leftovers,
): Promise<TakenOver> {
  const { ports, deadlines } = context;
  // The source may have waited for OWNED before it asked and came.
  const deadline = new Deadline(ports.clock, deadlines.ownedMs + deadlines.handOverMs);
  using visitors = new Visitors(context, deadline);
  let current: DestinationLine | undefined = line;
  let injected = 0;
  while (!deadline.over) {
    const alone = current === undefined;
    try {
      const event: SourceMessage | DestinationLine = await visitors.orMessageOf(current, deadline.remainingMs);
      if (event instanceof Line) {
        current?.close();
        current = event;
        await current.send({ type: 'RECEIVED', epoch, datagrams: injected }, deadline.remainingMs);
      } else if (event.type === 'DATAGRAMS') {
        if (event.first !== injected)
          throw new ComicranError('peer.protocol', `datagram ${event.first} came, ${injected} was expected`);
        await inject(context, event, leftovers);
        injected += event.datagrams.length;
        current?.recycle(event);
      } else if (event.type === 'DRAINED' && event.total === injected) {
        return { injected, complete: true, line: current };
      } else if (event.type === 'DRAINED') {
        throw new ComicranError('peer.protocol', `${injected} datagrams came, the source says ${event.total}`);
      } else if (current !== undefined) throw current.unexpected(event, 'DATAGRAMS or DRAINED');
    } catch (error) {
      leftovers.add('taking over datagrams', error);
      if (alone) break;
      current?.close();
      current = undefined;
    }
  }
  return { injected, complete: false, line: current };
}

/** @returns the line on which the source has come back; undefined where it has not in time. */
export async function awaitReturn(context: DestinationAfter, timeoutMs: number): Promise<DestinationLine | undefined> {
  using visitors = new Visitors(context, new Deadline(context.ports.clock, timeoutMs));
  const returned = await visitors.orMessageOf(undefined, timeoutMs).catch(() => undefined);
  return returned instanceof Line ? returned : undefined;
}

/** Tells a source that comes back, for as long as it may, that nothing runs here. */
export async function sayGivenBack(
  context: DestinationAfter,
  line: DestinationLine,
  message: GivenBackMessage,
): Promise<void> {
  const { ports, deadlines } = context;
  const deadline = new Deadline(ports.clock, deadlines.ownedMs + deadlines.handOverMs);
  using visitors = new Visitors(context, deadline);
  for (let current: DestinationLine | undefined = line; !deadline.over; ) {
    try {
      await current.send(message, deadline.remainingMs);
      await current.closeAfterPeer(deadline.remainingMs);
    } catch {
      // It may come back, and is told again.
    }
    current.close();
    const next = await visitors.orMessageOf(undefined, deadline.remainingMs).catch(() => undefined);
    if (!(next instanceof Line)) return;
    current = next;
  }
}

/**
 * Ends the hold at a destination that owns, and with it the migration. Tried twice: a process whose packets are held
 * for ever is as good as dead.
 * @returns how many packets were held
 */
export async function releasePackets(
  ports: Pick<DestinationPorts, 'packets' | 'journal'>,
  migration: Migration,
  leftovers: Leftovers,
): Promise<number> {
  const release = () => leftovers.result('releasing the packets', () => ports.packets.release());
  const released = (await release()) ?? (await release());
  if (released !== undefined) await leftovers.tidy('clearing the journal', () => ports.journal.clear(migration.id));
  return released?.held ?? 0;
}

/** Where a datagram cannot be injected it is lost, and the others are not. */
async function inject({ ports, deadlines }: DestinationAfter, message: DatagramsMessage, leftovers: Leftovers) {
  for (const datagram of message.datagrams) {
    try {
      const injecting = ports.packets.inject(datagram);
      if (injecting instanceof Promise) await within(ports.clock, deadlines.stepMs, 'injecting a datagram', injecting);
    } catch (error) {
      leftovers.add('injecting a datagram', error);
    }
  }
}

/** Nobody comes back any more; the line that there is may be good all the same. */
const NEVER = new Promise<never>(() => {});

/** Connections on which the source comes back. Each has said HAND_OVER. */
class Visitors implements Disposable {
  readonly #context: DestinationAfter;
  readonly #deadline: Deadline;
  #next: Promise<DestinationLine>;
  #disposed = false;

  constructor(context: DestinationAfter, deadline: Deadline) {
    this.#context = context;
    this.#deadline = deadline;
    this.#next = this.#accept();
  }

  /** The next visitor or, on the line that there is, the next message: whichever comes first. */
  async orMessageOf(line: DestinationLine | undefined, timeoutMs: number): Promise<SourceMessage | DestinationLine> {
    const event =
      line === undefined
        ? await within(this.#context.ports.clock, timeoutMs, 'waiting for the source to come back', this.#next)
        : await Promise.race([this.#next.catch(() => NEVER), line.receive(timeoutMs, 'DATAGRAMS')]);
    if (event instanceof Line) this.#next = this.#accept();
    return event;
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#next.then((line) => line.close()).catch(() => {});
  }

  #accept(): Promise<DestinationLine> {
    const accepted = this.#greet();
    // Whoever waits for it hears of a failure; nobody may be waiting yet.
    accepted.catch(() => {});
    return accepted;
  }

  /** Goes on to the next one after a visitor that is not the source of this migration. */
  async #greet(): Promise<DestinationLine> {
    const { ports, migration } = this.#context;
    while (!this.#disposed) {
      const channel: Channel<DestinationMessage, SourceMessage> = await ports.accept(this.#deadline.remainingMs);
      const line: DestinationLine = new Line(channel, ports.clock, migration.source);
      const hello = await line.expect('HAND_OVER', this.#deadline.remainingMs).catch(() => undefined);
      if (hello?.migrationId === migration.id) return line;
      line.close();
    }
    throw new ComicranError('aborted', 'nobody is waited for any more');
  }
}
