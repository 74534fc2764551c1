/**
 * The source of a migration.
 *
 * Promise: {@link runSource} does not throw, and each of its ends says where the process is.
 * - `moved`: the destination owns and was let run, or will be when its daemon comes back; the process here has ended.
 * - `stayed`: the process runs on here and has noticed nothing but the stop; nothing runs at the destination.
 * - `halted`: the process is stopped, the journal says how far it had got, an operator is needed.
 *
 * Before TAKE every failure, deadline and abort leads to `stayed`, at once and without asking anybody. Behind TAKE
 * nobody's word counts but OWNED and the record's, and it waits for the record as long as that takes: a process that
 * stands still is better than two that answer.
 */
import { assert } from '../base/assert.ts';
import { ComicranError } from '../base/errors.ts';
import { totalLength } from './chunks.ts';
import { endGiven } from './hand-over-source.ts';
import { advance, type Migration, type SourceEntry } from './journal.ts';
import { Leftovers } from './leftovers.ts';
import { failureText, Line } from './line.ts';
import { type OwnedMessage, PAGE_BYTES, PROTOCOL_VERSION, type ReadyMessage } from './messages.ts';
import { SOURCE_MODES } from './modes/table.ts';
import { offer, type Verdict } from './offer.ts';
import {
  type DestinationTimes,
  type Halted,
  type Moved,
  type SourceOutcome,
  type Stayed,
  withPlace,
} from './outcome.ts';
import { PhaseLog, type SourcePhase } from './phases.ts';
import type { FrozenProcess, SourcePorts } from './ports.ts';
import type { RoleOptions, SourceContext, SourceLine } from './roles.ts';
import { abortedError, DEFAULT_DEADLINES, Deadline, within } from './waiting.ts';

const CHUNK_BYTES = 512 << 10;
/** How long the destination is given to hear that it was for nothing. It destroys everything also without. */
const ABORT_MS = 200;

export async function runSource(
  ports: SourcePorts,
  migration: Migration,
  options: RoleOptions<SourcePhase> = {},
): Promise<SourceOutcome> {
  const context: SourceContext = {
    ports,
    migration,
    deadlines: { ...DEFAULT_DEADLINES, ...options.deadlines },
    phases: new PhaseLog(ports.clock, options.onProgress),
    signal: options.signal,
  };
  return new SourceRole(context, options.chunkBytes ?? CHUNK_BYTES).run();
}

/** Everything is with the destination, the stop is held, the journal says `offered`. */
type Prepared = {
  readonly frozen: FrozenProcess;
  readonly line: SourceLine;
  readonly ready: ReadyMessage;
  readonly entry: SourceEntry;
};

class SourceRole {
  readonly #context: SourceContext;
  readonly #chunkBytes: number;
  readonly #leftovers: Leftovers;
  #line: SourceLine | undefined;
  /** Kept also where nobody waits for it any more: what comes of it must be let run on. */
  #freezing: Promise<FrozenProcess> | undefined;
  #freezeBeganMicros: number | undefined;

  constructor(context: SourceContext, chunkBytes: number) {
    this.#context = context;
    this.#chunkBytes = chunkBytes;
    this.#leftovers = new Leftovers(context.ports.clock, context.deadlines);
  }

  async run(): Promise<SourceOutcome> {
    let prepared: Prepared;
    try {
      prepared = await this.#prepare();
    } catch (error) {
      return this.#giveUp(error);
    }
    this.#context.phases.enter('commit');
    const verdict = await offer(this.#context, prepared.entry, prepared.line);
    switch (verdict.kind) {
      case 'given':
        return this.#finish(prepared, verdict);
      case 'kept':
        return this.#runOn(verdict.reason, verdict.epoch);
      case 'halted':
        return this.#halt(verdict.reason);
    }
  }

  async #prepare(): Promise<Prepared> {
    const { ports, migration, deadlines, phases, signal } = this.#context;
    const budget = new Deadline(ports.clock, deadlines.totalMs);
    let entry: SourceEntry = { side: 'source', stage: 'sending', migration };
    phases.enter('connect');
    await this.#step('writing the journal', ports.journal.write(entry));
    const line = await this.#connect();
    const { id: migrationId, ...hello } = migration;
    await line.send({ type: 'HELLO', version: PROTOCOL_VERSION, migrationId, ...hello }, deadlines.stepMs);
    const { version } = await line.expect('WELCOME', deadlines.stepMs);
    if (version !== PROTOCOL_VERSION)
      throw new ComicranError('peer.protocol', `${migration.destination} speaks version ${version} of the protocol`);
    const freeze = (): Promise<FrozenProcess> => this.#freeze();
    const before = { ...this.#context, line, budget, chunkBytes: this.#chunkBytes, freeze };
    const { frozen, ready } = await SOURCE_MODES[migration.mode].send(before);
    if (budget.over) throw new ComicranError('deadline', `it took longer than ${deadlines.totalMs} ms`);
    // Written before the stop is held: a held stop without this entry would last for ever if this program ended now.
    entry = advance(entry, 'offered');
    await this.#step('writing the journal', ports.journal.write(entry));
    await this.#step('holding the stop', frozen.holdStopped());
    // The last moment: from the next step on the destination may own.
    if (signal?.aborted) throw abortedError();
    line.ignoreAbort();
    return { frozen, line, ready, entry };
  }

  async #connect(): Promise<SourceLine> {
    const { ports, migration, deadlines, signal } = this.#context;
    const connecting = ports.connect(deadlines.stepMs);
    const what = `connecting to ${migration.destination}`;
    const options = { signal, onLate: (late: Awaited<typeof connecting>) => late.close() };
    const channel = await within(ports.clock, deadlines.stepMs, what, connecting, options);
    this.#line = new Line(channel, ports.clock, migration.destination, signal);
    return this.#line;
  }

  #freeze(): Promise<FrozenProcess> {
    const { ports, deadlines, signal } = this.#context;
    assert(this.#freezing === undefined, 'a process that is frozen twice');
    this.#freezeBeganMicros = ports.clock.nowMicros();
    this.#freezing = ports.process.freeze();
    return within(ports.clock, deadlines.stepMs, 'freezing the process', this.#freezing, { signal });
  }

  /** Before TAKE: the process runs on first, then the destination hears of it. */
  async #giveUp(error: unknown): Promise<Stayed | Halted<SourcePhase>> {
    const { migration, deadlines } = this.#context;
    const outcome = await this.#runOn(error, migration.epoch);
    if (this.#line === undefined) return outcome;
    this.#line.ignoreAbort();
    const timeoutMs = Math.min(ABORT_MS, deadlines.stepMs);
    await this.#line.send({ type: 'ABORT', ...failureText(error) }, timeoutMs).catch(() => {});
    this.#line.close();
    return outcome;
  }

  async #runOn(reason: unknown, epoch: bigint): Promise<Stayed | Halted<SourcePhase>> {
    const { ports, migration, phases } = this.#context;
    const place = `the migration of ${migration.sandbox} to ${migration.destination} failed (${phases.current})`;
    const resumed = await this.#leftovers.tidy('letting the process run on', async () => {
      // Where the freeze has failed, the process runs.
      const frozen = await this.#freezing?.catch(() => undefined);
      await frozen?.resume();
    });
    if (!resumed) {
      return this.#halt(withPlace(reason, `${place}, and the process cannot be let run on`));
    }
    const stopMicros = this.#stopMicros();
    await this.#leftovers.tidy('clearing the journal', () => ports.journal.clear(migration.id));
    return {
      outcome: 'stayed',
      error: withPlace(reason, `${place}; it runs on at ${migration.source}`),
      epoch,
      stopMicros,
      phases: phases.finish(),
      leftovers: this.#leftovers.failures,
    };
  }

  async #finish(prepared: Prepared, verdict: Extract<Verdict, { kind: 'given' }>): Promise<Moved> {
    const { migration, phases } = this.#context;
    const stopMicros = this.#stopMicros();
    const datagrams = await endGiven(this.#context, prepared.entry, verdict, prepared.frozen, this.#leftovers);
    const pageBytes = totalLength(prepared.frozen.pages);
    return {
      outcome: 'moved',
      mode: migration.mode,
      epoch: verdict.epoch,
      stopMicros,
      pages: pageBytes / PAGE_BYTES,
      pageBytes,
      imageBytes: prepared.frozen.image.length,
      datagrams,
      destination: verdict.owned === undefined ? undefined : destinationTimes(prepared.ready, verdict.owned),
      totalMicros: phases.elapsedMicros,
      phases: phases.finish(),
      leftovers: this.#leftovers.failures,
    };
  }

  #halt(error: ComicranError): Halted<SourcePhase> {
    return { outcome: 'halted', error, phases: this.#context.phases.finish(), leftovers: this.#leftovers.failures };
  }

  #stopMicros(): number {
    const now = this.#context.ports.clock.nowMicros();
    return now - (this.#freezeBeganMicros ?? now);
  }

  #step<T>(what: string, value: T | Promise<T>): Promise<T> {
    return within(this.#context.ports.clock, this.#context.deadlines.stepMs, what, value);
  }
}

function destinationTimes(ready: ReadyMessage, owned: OwnedMessage): DestinationTimes {
  const { beginMicros, pagesMicros, finishMicros } = ready;
  const { takeMicros, runMicros } = owned;
  return { beginMicros, pagesMicros, finishMicros, takeMicros, runMicros };
}
