/**
 * The destination of a migration.
 *
 * Promise: {@link runDestination} does not throw, and each of its ends says where the process is.
 * - `owned`: the process runs here, the record names this machine.
 * - `discarded`: there is no process here; it never ran, and the record will never name this machine for it.
 * - `halted`: the process is here, complete and stopped, the journal says how far it had got, an operator is needed.
 *
 * Until TAKE has come every failure, deadline and abort leads to `discarded`. From then on only the record decides:
 * this side asks it as long as it takes, because a compare-and-set that nobody answered may still be made.
 */
import { ComicranError } from '../base/errors.ts';
import { type Ending, endOwned, FAILED_MS } from './end-destination.ts';
import { awaitReturn, sayGivenBack } from './hand-over-destination.ts';
import { advance, type DestinationEntry, type Migration } from './journal.ts';
import { Leftovers } from './leftovers.ts';
import { failureText, Line } from './line.ts';
import { type HelloMessage, PROTOCOL_VERSION } from './messages.ts';
import { DESTINATION_MODES } from './modes/table.ts';
import { leadsLate } from './modes.ts';
import {
  type DestinationOutcome,
  type Discarded,
  type Halted,
  type Owned,
  type Takeover,
  withPlace,
} from './outcome.ts';
import { contradiction, decideDestination } from './ownership.ts';
import { type DestinationPhase, PhaseLog } from './phases.ts';
import type { BeginOptions, DestinationPorts, OwnershipRecord, RestoringProcess, TakeoverOrder } from './ports.ts';
import type {
  DestinationBefore,
  DestinationContext,
  DestinationLine,
  DestinationPrepared,
  Kept,
  Opened,
  RoleOptions,
} from './roles.ts';
import { giveBack, lead, settle } from './settle.ts';
import { takeOverRecord } from './take-over.ts';
import { abortedError, DEFAULT_DEADLINES, within } from './waiting.ts';

/** Nothing but a kernel without memory keeps it from succeeding, and a sandbox that is not heard is the worst of ends. */
const OPENING_TRIES = 3;

export async function runDestination(
  ports: DestinationPorts,
  migration: Migration,
  options: RoleOptions<DestinationPhase> = {},
): Promise<DestinationOutcome> {
  const context: DestinationContext = {
    ports,
    migration,
    deadlines: { ...DEFAULT_DEADLINES, ...options.deadlines },
    phases: new PhaseLog(ports.clock, options.onProgress),
    signal: options.signal,
    ordered: options.ordered,
  };
  return new DestinationRole(context, options.onRunning).run();
}

/** The process is complete and does not answer. TAKE has come and the journal says `taking`; or `taking-over`, without it. */
type Offered = DestinationPrepared & { readonly line: DestinationLine; readonly entry: DestinationEntry };

/** How the end of the log was heard, where there is one. */
type Concluded =
  | { readonly kind: 'whole'; readonly heardMicros: number }
  | { readonly kind: 'broken'; readonly error: unknown };

class DestinationRole {
  readonly #context: DestinationContext;
  readonly #leftovers: Leftovers;
  readonly #onRunning: RoleOptions<DestinationPhase>['onRunning'];
  #line: DestinationLine | undefined;
  /** Kept also where nobody waits for it any more: what comes of it must be destroyed. */
  #beginning: Promise<RestoringProcess> | undefined;

  constructor(context: DestinationContext, onRunning: RoleOptions<DestinationPhase>['onRunning']) {
    this.#context = context;
    this.#onRunning = onRunning;
    this.#leftovers = new Leftovers(context.ports.clock, context.deadlines);
  }

  /** To ask the record with. */
  get #world() {
    const { ports, deadlines } = this.#context;
    return { ownership: ports.ownership, clock: ports.clock, deadlines };
  }

  async run(): Promise<DestinationOutcome> {
    let offered: Offered;
    try {
      offered = await this.#receive();
    } catch (error) {
      return this.#discard(error);
    }
    return 'order' in offered.take ? this.#takeOver(offered, offered.take) : this.#take(offered);
  }

  async #receive(): Promise<Offered> {
    const { ports, migration, deadlines, phases, signal } = this.#context;
    let entry: DestinationEntry = { side: 'destination', stage: 'receiving', migration };
    phases.enter('accept');
    await this.#step('writing the journal', ports.journal.write(entry));
    await this.#step('holding the packets', ports.packets.hold());
    const line = await this.#accept();
    checkHello(migration, await line.expect('HELLO', deadlines.stepMs));
    await line.send({ type: 'WELCOME', version: PROTOCOL_VERSION }, deadlines.stepMs);
    const begin: DestinationBefore['begin'] = (image, how) => this.#begin(image, how);
    const prepared = await DESTINATION_MODES[migration.mode].receive({ ...this.#context, line, begin });
    // While it is nobody's loss: behind the next step packets come here.
    await this.#step('looking whether the process is still there', prepared.process.confirm());
    entry = advance(entry, 'order' in prepared.take ? 'taking-over' : 'taking');
    await this.#step('writing the journal', ports.journal.write(entry));
    if (signal?.aborted) throw abortedError();
    line.ignoreAbort();
    return { ...prepared, line, entry };
  }

  async #accept(): Promise<DestinationLine> {
    const { ports, migration, deadlines, signal } = this.#context;
    const accepting = ports.accept(deadlines.stepMs);
    const options = { signal, onLate: (late: Awaited<typeof accepting>) => late.close() };
    const what = `waiting for ${migration.source} to connect`;
    const channel = await within(ports.clock, deadlines.stepMs, what, accepting, options);
    this.#line = new Line(channel, ports.clock, migration.source, signal);
    return this.#line;
  }

  #begin(image: Uint8Array, options: BeginOptions): Promise<RestoringProcess> {
    const { ports, deadlines, signal } = this.#context;
    this.#beginning = ports.engine.begin(image, options);
    return within(ports.clock, deadlines.stepMs, 'beginning the process', this.#beginning, { signal });
  }

  /** Behind TAKE. */
  async #take(offered: Offered): Promise<DestinationOutcome> {
    const { ports, migration, deadlines, phases } = this.#context;
    phases.enter('take');
    const tookMicros = ports.clock.nowMicros();
    let isTaken = false;
    const concluding = conclude(offered, () => isTaken).finally(() => phases.mark('reproduced'));
    const { action, record } = await settle(
      this.#world,
      migration.epoch,
      (known) => decideDestination(offered.entry.stage, migration, known),
      (reason) => phases.note(`waiting for the sdn: ${reason}`),
    );
    if (action === 'halt') return this.#halt(contradiction(migration, record));
    if (action === 'destroy') return this.#discard(this.#belongsTo(record));
    const epoch = migration.epoch + 1n;
    const ownedMicros = ports.clock.nowMicros();
    phases.mark('recorded');
    const { line } = offered;
    isTaken = true;
    // Where it does not arrive, the end of the log does not come.
    if (offered.conclude !== undefined) line.send({ type: 'TAKEN' }, deadlines.ownedMs).catch(() => {});
    const concluded = await concluding;
    if (concluded.kind === 'broken') {
      const returned = await this.#sourceBack(line, concluded.error);
      if (returned !== undefined) return this.#giveBack(returned, epoch, concluded.error);
      phases.note(`${migration.source} is gone without the end of the log: going on with what it said before`);
      // Its process may run all the same, and be heard for as long as the network takes its packets.
      const fenced = await this.#takeOverRecord('taking', { sourceIsOff: false });
      if (fenced.action === 'halt') return this.#halt(contradiction(migration, fenced.record));
      if (fenced.action === 'destroy') return this.#discard(fenced.refusal ?? this.#belongsTo(fenced.record));
    }
    const entry = advance(offered.entry, 'owned');
    await this.#leftovers.tidy('noting that this machine owns', () => ports.journal.write(entry));
    phases.mark('noted');
    phases.enter('run');
    let opened: Opened;
    try {
      opened = await offered.open();
    } catch (error) {
      return this.#giveBack(line, epoch, error);
    }
    phases.mark('opened');
    // Only now: a copy that had to be given back instead has had no packets that nobody else has.
    const leading = leadsLate(migration.mode) ? lead(this.#world, this.#leftovers) : undefined;
    const takeMicros = Math.round(ownedMicros - tookMicros);
    const heardMicros = concluded.kind === 'whole' ? concluded.heardMicros : 0;
    const runMicros = Math.round(ports.clock.nowMicros() - Math.max(ownedMicros, heardMicros));
    // Where it does not arrive, the source asks the record and comes back.
    const telling = line
      .send({ type: 'OWNED', epoch, takeMicros, runMicros, ...opened }, deadlines.ownedMs)
      .catch(() => {});
    if (!(await this.#settleIn(offered))) return this.#unheard();
    await telling;
    return this.#finish({ entry, epoch, onRunning: this.#onRunning, line, leading }, offered);
  }

  #takeOverRecord(stage: 'taking' | 'taking-over', order: TakeoverOrder): ReturnType<typeof takeOverRecord> {
    const { migration, phases } = this.#context;
    const onSilence = (reason: string): void => phases.note(`waiting for the sdn: ${reason}`);
    return takeOverRecord(this.#world, stage, migration, order, onSilence);
  }

  /** Without TAKE, and without the source: the copy goes on from where it was last told of it. */
  async #takeOver(offered: Offered, kept: Kept): Promise<DestinationOutcome> {
    const { ports, migration, phases } = this.#context;
    phases.enter('take');
    const { action, record, refusal } = await this.#takeOverRecord('taking-over', kept.order);
    if (action === 'halt') return this.#halt(contradiction(migration, record));
    if (action === 'destroy') return this.#discard(refusal ?? this.#belongsTo(record));
    phases.mark('recorded');
    const epoch = migration.epoch + 1n;
    const entry = advance(offered.entry, 'owned');
    await this.#leftovers.tidy('noting that this machine owns', () => ports.journal.write(entry));
    phases.enter('run');
    let opened: Opened;
    try {
      opened = await offered.open();
    } catch (error) {
      return this.#giveBack(undefined, epoch, error);
    }
    const gapMicros = Math.round(ports.clock.nowMicros() - kept.heardMicros);
    phases.mark('opened');
    if (!(await this.#settleIn(offered))) return this.#unheard();
    const takeover = { gapMicros, ...opened, mayRepeat: kept.hasWholeLog ? 0 : opened.released };
    const ending = { entry, epoch, onRunning: this.#onRunning, line: undefined, leading: undefined };
    return this.#finish(ending, offered, takeover);
  }

  #belongsTo(record: OwnershipRecord | undefined): ComicranError {
    const owner = record === undefined ? 'another machine' : `${record.owner} at epoch ${record.epoch}`;
    return new ComicranError('ownership.lost', `sandbox ${this.#context.migration.sandbox} belongs to ${owner}`);
  }

  #unheard(): Halted<DestinationPhase> {
    const { sandbox, destination } = this.#context.migration;
    const failure = this.#leftovers.failures.at(-1);
    return this.#halt(withPlace(failure, `${sandbox} runs at ${destination} and is not heard`));
  }

  /** @returns whether what the mode has put off is done */
  async #settleIn({ opened }: Offered): Promise<boolean> {
    if (opened === undefined) return true;
    for (let tries = 0; tries < OPENING_TRIES; tries++)
      if (await this.#leftovers.tidy('taking the gate away', async () => opened())) return true;
    return false;
  }

  /**
   * This machine owns, and its copy is not what the process was. Where the connection has not broken, the source waits at
   * its other end; otherwise it comes back, unless its machine is gone.
   */
  async #sourceBack(line: DestinationLine, error: unknown): Promise<DestinationLine | undefined> {
    if (!isSilence(error)) return line;
    line.close();
    return awaitReturn(this.#context, this.#context.deadlines.giveBackMs);
  }

  async #finish(
    owned: Pick<Ending, 'entry' | 'epoch' | 'onRunning' | 'line' | 'leading'>,
    { passDirectly, fill }: Offered,
    takeover?: Takeover,
  ): Promise<Owned | Halted<DestinationPhase>> {
    const { phases } = this.#context;
    const end = await endOwned(this.#context, { ...owned, passDirectly, fill }, this.#leftovers);
    if ('error' in end) return this.#halt(withPlace(end.error, 'its memory is not whole'));
    const { datagrams, filled } = end;
    return {
      outcome: 'owned',
      ...{ epoch: owned.epoch, datagrams, filled, takeover },
      marks: phases.marks,
      phases: phases.finish(),
      leftovers: this.#leftovers.failures,
    };
  }

  /** This machine owns and has nothing that could run. The source has, if anybody has, and gets the record back. */
  async #giveBack(line: DestinationLine | undefined, epoch: bigint, cause: unknown): Promise<DestinationOutcome> {
    const { migration, phases } = this.#context;
    const reason = withPlace(cause, `${migration.destination} cannot let the process run`);
    if (!(await this.#destroyProcess())) return this.#halt(reason);
    await giveBack(this.#world, epoch, (silence) => phases.note(`waiting for the sdn: ${silence}`));
    await this.#takeAway(true);
    if (line !== undefined)
      await sayGivenBack(this.#context, line, { type: 'GIVEN_BACK', epoch, ...failureText(reason) });
    return this.#discarded(reason);
  }

  async #discard(error: unknown): Promise<Discarded> {
    const line = this.#line;
    line?.ignoreAbort();
    // The source hears of it first: its process is stopped.
    const told = line?.send({ type: 'FAILED', ...failureText(error) }, FAILED_MS).catch(() => {});
    await this.#destroyEverything();
    await told;
    await line?.closeAfterPeer(FAILED_MS);
    return this.#discarded(error);
  }

  /** Where something is left, so is the journal's entry: the next daemon destroys it. */
  async #destroyEverything(): Promise<void> {
    const destroyed = await this.#destroyProcess();
    await this.#takeAway(destroyed);
  }

  #destroyProcess(): Promise<boolean> {
    return this.#leftovers.tidy('destroying the process', async () => {
      const process = await this.#beginning?.catch(() => undefined);
      await process?.destroy();
      await this.#context.ports.engine.forgetSketch();
    });
  }

  async #takeAway(destroyed: boolean): Promise<void> {
    const { ports, migration } = this.#context;
    const opened = await this.#leftovers.tidy('taking the gate away', () => ports.replay.discard());
    const discarded = await this.#leftovers.tidy('taking the hold away', () => ports.packets.discard());
    if (destroyed && discarded && opened)
      await this.#leftovers.tidy('clearing the journal', () => ports.journal.clear(migration.id));
  }

  #discarded(error: unknown): Discarded {
    const { migration, phases } = this.#context;
    const place = `the migration of ${migration.sandbox} from ${migration.source} failed (${phases.current})`;
    return {
      outcome: 'discarded',
      error: withPlace(error, place),
      phases: phases.finish(),
      leftovers: this.#leftovers.failures,
    };
  }

  #halt(error: ComicranError): Halted<DestinationPhase> {
    return {
      outcome: 'halted',
      error,
      phases: this.#context.phases.finish(),
      leftovers: this.#leftovers.failures,
    };
  }

  #step<T>(what: string, value: T | Promise<T>): Promise<T> {
    const { ports, deadlines, signal } = this.#context;
    return within(ports.clock, deadlines.stepMs, what, value, { signal });
  }
}

/** Does not reject: it may be over before anybody looks. */
async function conclude({ conclude: hear }: Offered, isTaken: () => boolean): Promise<Concluded> {
  try {
    return { kind: 'whole', heardMicros: (await hear?.(isTaken)) ?? 0 };
  } catch (error) {
    return { kind: 'broken', error };
  }
}

/** Nothing has been heard of the source, as against something that does not fit. */
function isSilence(error: unknown): boolean {
  return error instanceof ComicranError && (error.code === 'peer.died' || error.code === 'deadline');
}

function checkHello(migration: Migration, hello: HelloMessage): void {
  const refuse = (what: string, found: unknown, expected: unknown): never => {
    throw new ComicranError('peer.protocol', `${what} is ${String(found)}, ${String(expected)} was expected`, {
      hint: 'Run the same version of comicran on both machines.',
    });
  };
  if (hello.version !== PROTOCOL_VERSION) refuse('version of the protocol', hello.version, PROTOCOL_VERSION);
  if (hello.migrationId !== migration.id) refuse('migration', hello.migrationId, migration.id);
  for (const key of ['sandbox', 'mode', 'source', 'destination', 'epoch'] as const)
    if (hello[key] !== migration[key]) refuse(key, hello[key], migration[key]);
}
