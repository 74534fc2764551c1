/**
 * The datagrams that came while nobody ran, from the source into the sandbox; over a second connection where the first
 * one breaks.
 */
import { ComicranError } from '../base/errors.ts';
import type { Migration } from './journal.ts';
import type { Leftovers } from './leftovers.ts';
import { Line } from './line.ts';
import {
  DATAGRAMS_UNKNOWN,
  type DatagramsMessage,
  type DestinationMessage,
  type GivenBackMessage,
  type HandedOverMessage,
  type SourceMessage,
} from './messages.ts';
import type { Channel, DestinationPorts } from './ports.ts';
import type { DestinationAfter, DestinationLine } from './roles.ts';
import { Deadline, type Deadlines, within } from './waiting.ts';

/** What datagrams are put into the sandbox by. */
type Injection = {
  readonly ports: Pick<DestinationPorts, 'clock'> & { readonly packets: Pick<DestinationPorts['packets'], 'inject'> };
  readonly deadlines: Pick<Deadlines, 'stepMs'>;
};

/** Datagrams that the source carries over, put into the sandbox. */
export class Intake {
  readonly #context: Injection;
  readonly #leftovers: Leftovers;
  #isForgotten = false;
  injected = 0;
  /** Packets that waited here and have been let go. */
  held = 0;

  constructor(context: Injection, leftovers: Leftovers) {
    this.#context = context;
    this.#leftovers = leftovers;
  }

  /** How many an earlier run of this program has taken is not known. */
  forget(): void {
    this.#isForgotten = true;
  }

  /** For RECEIVED. */
  get received(): number {
    return this.#isForgotten ? DATAGRAMS_UNKNOWN : this.injected;
  }

  get handedOver(): HandedOverMessage {
    return { type: 'HANDED_OVER', injected: this.injected, held: this.held };
  }

  /** @returns whether that was the last. @throws ComicranError peer.protocol */
  async take(message: SourceMessage, line: DestinationLine | undefined): Promise<boolean> {
    const { injected } = this;
    if (this.#isForgotten)
      throw new ComicranError('peer.protocol', `${message.type} where it is not known what came before`);
    if (message.type === 'DRAINED') {
      if (message.total === injected) return true;
      throw new ComicranError('peer.protocol', `${injected} datagrams came, the source says ${message.total}`);
    }
    if (message.type !== 'DATAGRAMS')
      throw line?.unexpected(message, 'DATAGRAMS or DRAINED') ?? new ComicranError('peer.protocol', message.type);
    if (message.first !== injected)
      throw new ComicranError('peer.protocol', `datagram ${message.first} came, ${injected} was expected`);
    await inject(this.#context, message, this.#leftovers);
    this.injected += message.datagrams.length;
    line?.recycle(message);
    return false;
  }
}

/**
 * How long a source is waited for that does not know what has become of its process. It may have waited for OWNED before
 * it asked and came. Replicated: it does not believe the record alone, which a copy may have to give back.
 */
export function takeOverPatienceMs({ mode }: Migration, deadlines: Deadlines): number {
  return mode === 'replicated' ? deadlines.confirmMs : deadlines.ownedMs + deadlines.handOverMs;
}

type TakingOver = {
  readonly intake: Intake;
  readonly visitors: Visitors;
  readonly leftovers: Leftovers;
  /** Whether the network leads here in the end: until then the source goes on carrying over. Undefined: it does. */
  readonly leading: Promise<boolean> | undefined;
};

export type TakenOver = {
  readonly complete: boolean;
  /** Where the source waits for HANDED_OVER. */
  readonly line: DestinationLine | undefined;
};

/**
 * Injects what the source carries over, until it says that there is no more, or time is up. This machine owns; OWNED has
 * been sent on `line`, or could not be.
 */
export async function takeOver(
  { ports, deadlines, migration }: DestinationAfter,
  line: DestinationLine | undefined,
  epoch: bigint,
  { intake, visitors, leftovers, leading }: TakingOver,
): Promise<TakenOver> {
  const deadline = new Deadline(ports.clock, takeOverPatienceMs(migration, deadlines));
  let current: DestinationLine | undefined = line;
  let isLed = false;
  // Where it does not arrive, the source comes back and is told again.
  const sayLed = async (): Promise<void> => current?.send({ type: 'LED' }, deadline.remainingMs).catch(() => {});
  void leading?.then((led) => {
    isLed = led;
    return led ? sayLed() : undefined;
  });
  while (!deadline.over) {
    const alone = current === undefined;
    try {
      const event: SourceMessage | DestinationLine = await visitors.orMessageOf(current, deadline.remainingMs);
      if (event instanceof Line) {
        current?.close();
        current = event;
        await current.send({ type: 'RECEIVED', epoch, datagrams: intake.received }, deadline.remainingMs);
        if (isLed) await sayLed();
      } else if (await intake.take(event, current)) return { complete: true, line: current };
    } catch (error) {
      leftovers.add('taking over datagrams', error);
      if (alone) break;
      current?.close();
      current = undefined;
    }
  }
  return { complete: false, line: current };
}

/** @returns the line on which the source has come back; undefined where it has not in time. */
export async function awaitReturn(context: DestinationAfter, timeoutMs: number): Promise<DestinationLine | undefined> {
  using visitors = new Visitors(context, new Deadline(context.ports.clock, timeoutMs));
  const returned = await visitors.orMessageOf(undefined, timeoutMs).catch(() => undefined);
  return returned instanceof Line ? returned : undefined;
}

/** Tells a source that comes back, for as long as it may, that nothing runs here; until it has said that it knows. */
export async function sayGivenBack(
  context: DestinationAfter,
  line: DestinationLine,
  message: GivenBackMessage,
): Promise<void> {
  const { ports, deadlines, signal } = context;
  const deadline = new Deadline(ports.clock, deadlines.ownedMs + deadlines.handOverMs);
  using visitors = new Visitors(context, deadline);
  for (let current: DestinationLine | undefined = line; !deadline.over && signal?.aborted !== true; ) {
    try {
      await current.send(message, deadline.remainingMs);
      await current.closeAfterPeer(deadline.remainingMs);
    } catch {
      // It may come back, and is told again.
    }
    current.close();
    const coming = visitors.orMessageOf(undefined, deadline.remainingMs);
    const options = { signal, onLate: (late: unknown) => late instanceof Line && late.close() };
    const next = await within(ports.clock, deadline.remainingMs, 'the source', coming, options).catch(() => undefined);
    if (!(next instanceof Line)) return;
    current = next;
  }
}

/**
 * Tells a source that comes back that the process runs here. What an earlier run of this daemon has taken over is not
 * known: the source is not asked for it again. Waits for as long as a source may need that has asked the record first; it
 * is no failure where none comes. Does not throw.
 */
export async function sayTaken(context: DestinationAfter, epoch: bigint): Promise<void> {
  const { ownedMs, handOverMs, stepMs } = context.deadlines;
  const line = await awaitReturn(context, ownedMs + handOverMs);
  if (line === undefined) return;
  const taken = { type: 'RECEIVED', epoch, datagrams: DATAGRAMS_UNKNOWN } as const;
  await line.send(taken, stepMs).catch(() => {});
  await line.closeAfterPeer(handOverMs);
}

/**
 * Ends the hold at a destination that owns. Tried twice: a process whose packets are held for ever is as good as dead.
 * @returns how many packets were held; undefined: they still are
 */
export async function releasePackets(
  { packets }: Pick<DestinationPorts, 'packets'>,
  leftovers: Leftovers,
): Promise<number | undefined> {
  const release = () => leftovers.result('releasing the packets', () => packets.release());
  return ((await release()) ?? (await release()))?.held;
}

/** Where a datagram cannot be injected it is lost, and the others are not. */
async function inject({ ports, deadlines }: Injection, message: DatagramsMessage, leftovers: Leftovers) {
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
export class Visitors implements Disposable {
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
      const patienceMs = Math.min(this.#deadline.remainingMs, this.#context.deadlines.stepMs);
      const hello = await line.expect('HAND_OVER', patienceMs).catch(() => undefined);
      if (hello?.migrationId === migration.id) return line;
      line.close();
    }
    throw new ComicranError('aborted', 'nobody is waited for any more');
  }
}
