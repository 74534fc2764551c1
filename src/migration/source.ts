/**
 * The source of a migration.
 *
 * Promise: {@link runSource} does not throw, and each of its ends says where the process is.
 * - `moved`: the destination owns and was let run, or will be when its daemon comes back; the process here has ended.
 * - `stayed`: the process runs on here and has noticed nothing but the stop, or has ended by itself; nothing runs at the
 *   destination.
 * - `taken-over`: the destination was made to do without this machine, and owns; the process here has ended.
 * - `halted`: the process is stopped, the journal says how far it had got, an operator is needed.
 *
 * Before TAKE every failure, deadline and abort leads to `stayed`, at once and without asking anybody, but where the copy at
 * the destination may be whole and has not been said to be gone: then the record is asked, while the process answers on. Behind TAKE
 * nobody's word counts but OWNED and the record's, and it waits for the record as long as that takes: a process that
 * stands still is better than two that answer.
 */
import { assert } from '../base/assert.ts';
import { ComicranError, messageOf } from '../base/errors.ts';
import { endGiven } from './hand-over-source.ts';
import { advance, type Migration, type SourceEntry } from './journal.ts';
import { Leftovers } from './leftovers.ts';
import { failureText, Line } from './line.ts';
import { type OwnedMessage, PAGE_BYTES, PROTOCOL_VERSION, type ReadyMessage } from './messages.ts';
import { SOURCE_MODES } from './modes/table.ts';
import { offer, resolveOffer, type Verdict } from './offer.ts';
import {
  type DestinationTimes,
  type Halted,
  type Moved,
  type SourceOutcome,
  type Stayed,
  type TakenOver,
  withPlace,
} from './outcome.ts';
import { PhaseLog, type SourcePhase } from './phases.ts';
import type { FrozenProcess, SourcePorts, StoppedProcess } from './ports.ts';
import type { RoleOptions, SourceContext, SourceLine, SourcePrepared } from './roles.ts';
import type { SnapshotChoice } from './snapshot-way.ts';
import { abortedError, DEFAULT_DEADLINES, Deadline, within } from './waiting.ts';

const CHUNK_BYTES = 512 << 10;
const FORK: SnapshotChoice = { way: 'fork', why: 'no other way was asked for' };
/** How long the destination is given to hear that it was for nothing. It destroys everything also without. */
const ABORT_MS = 200;
/** How long it is given to say that it has destroyed everything, where that is to be known. */
const GONE_MS = 500;

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
  return new SourceRole(context, options).run();
}

/** The process is stopped for good, the journal says `offered`. */
type Offered = SourcePrepared & { readonly line: SourceLine; readonly entry: SourceEntry };

type EndStep = { readonly what: string; readonly step: () => void | Promise<void> };

class SourceRole {
  readonly #context: SourceContext;
  readonly #options: RoleOptions<SourcePhase>;
  readonly #leftovers: Leftovers;
  #line: SourceLine | undefined;
  /** Kept also where nobody waits for it any more: what comes of it must be let run on. */
  #stopped: Promise<StoppedProcess> | undefined;
  #stopBeganMicros: number | undefined;
  /** When the destination was told the last that it needed. */
  #toldMicros = 0;
  /** Where the destination may have been let take over. */
  #followed: SourceEntry | undefined;
  readonly #endSteps: EndStep[] = [];

  constructor(context: SourceContext, options: RoleOptions<SourcePhase>) {
    this.#context = context;
    this.#options = options;
    this.#leftovers = new Leftovers(context.ports.clock, context.deadlines);
  }

  async run(): Promise<SourceOutcome> {
    let offered: Offered;
    try {
      offered = await this.#prepare();
    } catch (error) {
      return this.#followed === undefined ? this.#giveUp(error) : this.#giveUpFollowed(error, this.#followed);
    }
    const { clock } = this.#context.ports;
    this.#toldMicros = clock.nowMicros();
    const { conclude } = offered;
    const concluding = async (): ReturnType<NonNullable<typeof conclude>> => {
      const answer = await conclude?.();
      if (conclude !== undefined) this.#toldMicros = clock.nowMicros();
      return answer;
    };
    const verdict = await offer(this.#context, offered.entry, offered.line, concluding);
    switch (verdict.kind) {
      case 'given':
        return this.#finish(offered, verdict);
      case 'kept':
        return this.#runOn(verdict.reason, verdict.epoch);
      case 'halted':
        return this.#halt(verdict.reason);
    }
  }

  async #prepare(): Promise<Offered> {
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
    const onEnd = (what: string, step: () => void | Promise<void>): void => void this.#endSteps.push({ what, step });
    const { mayBeTakenOver = false } = this.#options;
    const noteFollowed = async (): Promise<void> => {
      if (!mayBeTakenOver) return;
      entry = advance(entry, 'followed');
      this.#followed = entry;
      await this.#step('writing the journal', ports.journal.write(entry));
    };
    const noteStop = (): void => {
      this.#stopBeganMicros ??= ports.clock.nowMicros();
    };
    const { chunkBytes = CHUNK_BYTES, outputRule = false, snapshot = FORK } = this.#options;
    const before = {
      ...this.#context,
      line,
      budget,
      chunkBytes,
      outputRule,
      snapshot,
      freeze,
      noteFollowed,
      noteStop,
      onEnd,
    };
    const prepared = await SOURCE_MODES[migration.mode].prepare(before);
    if (budget.over) throw new ComicranError('deadline', `it took longer than ${deadlines.totalMs} ms`);
    // Written before the stop is held: a held stop without this entry would last for ever if this program ended now.
    entry = advance(entry, 'offered');
    await this.#step('writing the journal', ports.journal.write(entry));
    phases.enter('commit');
    this.#stopped = Promise.resolve(prepared.process);
    if (prepared.stop !== undefined) {
      noteStop();
      await this.#step('holding the stop', prepared.stop());
    }
    // The last moment: from the next step on the destination may own.
    if (signal?.aborted) throw abortedError();
    line.ignoreAbort();
    return { ...prepared, line, entry };
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

  async #freeze(): Promise<FrozenProcess> {
    const { ports, deadlines, signal } = this.#context;
    assert(this.#stopped === undefined, 'a process that is frozen twice');
    this.#stopBeganMicros = ports.clock.nowMicros();
    const freezing = ports.process.freeze();
    this.#stopped = freezing;
    const frozen = await within(ports.clock, deadlines.stepMs, 'freezing the process', freezing, { signal });
    this.#stopBeganMicros = ports.clock.nowMicros() - frozen.stoppedMicros;
    return frozen;
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

  /**
   * The same where the destination may have a whole copy: only its word that it has it no more, or the record, lets the process
   * run on. It goes on answering meanwhile, unless it has been stopped for TAKE.
   */
  async #giveUpFollowed(error: unknown, entry: SourceEntry): Promise<Stayed | TakenOver | Halted<SourcePhase>> {
    if (await this.#isCopyGone(error)) return this.#runOn(error, entry.migration.epoch);
    const verdict = await resolveOffer(this.#context, entry, error);
    switch (verdict.kind) {
      case 'kept':
        return this.#runOn(error, verdict.epoch);
      case 'halted':
        return this.#halt(verdict.reason);
      case 'given':
        return this.#endTakenOver(entry, verdict, error);
    }
  }

  /** Tells the destination. @returns whether it has said that it has given up */
  async #isCopyGone(error: unknown): Promise<boolean> {
    const line = this.#line;
    if (line === undefined) return false;
    line.ignoreAbort();
    const { ports, deadlines } = this.#context;
    const deadline = new Deadline(ports.clock, Math.min(GONE_MS, deadlines.stepMs));
    try {
      if (!line.hasGivenUp) await line.send({ type: 'ABORT', ...failureText(error) }, deadline.remainingMs);
      while (!line.hasGivenUp) line.recycle(await line.receive(deadline.remainingMs, 'FAILED'));
    } catch {
      // It may not have heard it, or may have nothing to say any more.
    }
    line.close();
    return line.hasGivenUp;
  }

  async #endTakenOver(
    entry: SourceEntry,
    verdict: Extract<Verdict, { kind: 'given' }>,
    cause: unknown,
  ): Promise<TakenOver | Halted<SourcePhase>> {
    const { ports, phases, migration } = this.#context;
    const { sandbox, source, destination } = migration;
    const { halted } = await endGiven(this.#context, entry, verdict, ports.process.stopped, this.#leftovers);
    if (halted !== undefined) return this.#halt(halted);
    await this.#end();
    return {
      outcome: 'taken-over',
      epoch: verdict.epoch,
      error: new ComicranError(
        'ownership.lost',
        `${destination} has taken ${sandbox} over while nothing was heard of ${source}; its process at ${source} has ended`,
        { cause, hint: `What it did at ${source} behind the last word that ${destination} had of it is lost.` },
      ),
      phases: phases.finish(),
      leftovers: this.#leftovers.failures,
    };
  }

  async #runOn(reason: unknown, epoch: bigint): Promise<Stayed | Halted<SourcePhase>> {
    const { ports, migration, phases } = this.#context;
    const place = `the migration of ${migration.sandbox} to ${migration.destination} failed (${phases.current})`;
    const hasEnded = (): boolean => ports.process.hasEnded();
    const letRun = async (): Promise<void> => {
      // Where the freeze has failed, the process runs.
      const stopped = await this.#stopped?.catch(() => undefined);
      await stopped?.resume();
    };
    const resumed = hasEnded() || (await this.#leftovers.tidy('letting the process run on', letRun));
    if (!resumed && !hasEnded()) {
      return this.#halt(withPlace(reason, `${place}, and the process cannot be let run on`));
    }
    const stopMicros = this.#stopMicros();
    await this.#leftovers.tidy('clearing the journal', () => ports.journal.clear(migration.id));
    await this.#end();
    const ended = hasEnded();
    return {
      outcome: 'stayed',
      ended,
      error: ended
        ? endedIn(migration, phases.current, reason)
        : withPlace(reason, place, `it runs on at ${migration.source}`),
      epoch,
      stopMicros,
      phases: phases.finish(),
      leftovers: this.#leftovers.failures,
    };
  }

  async #finish(offered: Offered, verdict: Extract<Verdict, { kind: 'given' }>): Promise<Moved | Halted<SourcePhase>> {
    const { migration, phases } = this.#context;
    const stopMicros = this.#stopMicros();
    phases.mark('owned');
    const { marks } = phases;
    const { owned } = verdict;
    const cutoverMicros = owned === undefined ? undefined : this.#cutoverMicros(offered, owned);
    await offered.given?.().catch((error: unknown) => phases.note(messageOf(error)));
    const { entry, process, snapshot, pageBytes, imageBytes, ready } = offered;
    const { datagrams, filled, halted } = await endGiven(this.#context, entry, verdict, process, this.#leftovers);
    // Where the destination still needs the process, all that it needs stays.
    if (halted !== undefined) return this.#halt(halted);
    await this.#end();
    const { replayed, compared, released } = owned ?? { replayed: 0, compared: 0, released: 0 };
    return {
      outcome: 'moved',
      mode: migration.mode,
      epoch: verdict.epoch,
      // Where the process went on in between it was stopped twice.
      stopMicros: snapshot === undefined ? stopMicros : snapshot.freezeMicros + (cutoverMicros ?? stopMicros),
      replication: snapshot === undefined ? undefined : { ...snapshot, cutoverMicros, replayed, compared, released },
      pages: pageBytes / PAGE_BYTES,
      pageBytes,
      imageBytes,
      ...{ datagrams, filled, rounds: offered.rounds },
      destination: owned === undefined ? undefined : destinationTimes(ready, owned),
      totalMicros: phases.elapsedMicros,
      marks,
      phases: phases.finish(),
      leftovers: this.#leftovers.failures,
    };
  }

  /**
   * From the stop of the process to its first own answer at the destination, by two clocks: what passed here before the last
   * word was sent (TAKE, or the end of the log), what passed there behind it, and half of the rest for its way.
   */
  #cutoverMicros({ conclude }: Offered, { takeMicros, runMicros }: OwnedMessage): number {
    const now = this.#context.ports.clock.nowMicros();
    const there = conclude === undefined ? takeMicros + runMicros : runMicros;
    const ways = Math.max(0, now - this.#toldMicros - there);
    return this.#toldMicros - (this.#stopBeganMicros ?? this.#toldMicros) + there + ways / 2;
  }

  /** What the mode has left to be done, the last first. */
  async #end(): Promise<void> {
    for (const { what, step } of this.#endSteps.splice(0).toReversed()) await this.#leftovers.tidy(what, step);
  }

  #halt(error: ComicranError): Halted<SourcePhase> {
    return { outcome: 'halted', error, phases: this.#context.phases.finish(), leftovers: this.#leftovers.failures };
  }

  #stopMicros(): number {
    const now = this.#context.ports.clock.nowMicros();
    return now - (this.#stopBeganMicros ?? now);
  }

  #step<T>(what: string, value: T | Promise<T>): Promise<T> {
    return within(this.#context.ports.clock, this.#context.deadlines.stepMs, what, value);
  }
}

/** Whatever has failed then has failed because of that. */
function endedIn(
  { sandbox, source, destination }: Migration,
  phase: string | undefined,
  cause: unknown,
): ComicranError {
  return new ComicranError(
    'process.gone',
    `the process of ${sandbox} has ended at ${source} while it was to be moved to ${destination} (${phase ?? 'at its beginning'}); it runs nowhere`,
    { cause, hint: `See what it has said with 'comicran smanager logs ${sandbox}', and start it again.` },
  );
}

function destinationTimes(ready: ReadyMessage, owned: OwnedMessage): DestinationTimes {
  const { beginMicros, pagesMicros, finishMicros } = ready;
  const { takeMicros, runMicros } = owned;
  return { beginMicros, pagesMicros, finishMicros, takeMicros, runMicros };
}
