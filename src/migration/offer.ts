/**
 * The source behind TAKE: only the record decides now. Used by the role, and by a daemon that starts again and finds the
 * journal of a migration that had got so far.
 */
import { ComicranError, messageOf } from '../base/errors.ts';
import type { Migration, SourceEntry } from './journal.ts';
import { Line } from './line.ts';
import { DATAGRAMS_UNKNOWN, type DestinationMessage, type OwnedMessage, PROTOCOL_VERSION } from './messages.ts';
import { contradiction, decideSource, type Knowledge } from './ownership.ts';
import type { SourceAfter, SourceLine } from './roles.ts';
import { settle } from './settle.ts';
import { Deadline, type Deadlines, sleep, within } from './waiting.ts';

/** What became of an offer. */
export type Verdict =
  /** The destination owns. `line` leads to it, where it can be reached; `first` is the datagram that it expects next. */
  | {
      readonly kind: 'given';
      readonly epoch: bigint;
      readonly line: SourceLine | undefined;
      readonly first: number;
      readonly owned: OwnedMessage | undefined;
    }
  /** This machine owns, and the destination cannot come to own any more. */
  | { readonly kind: 'kept'; readonly epoch: bigint; readonly reason: unknown }
  | { readonly kind: 'halted'; readonly reason: ComicranError };

/**
 * Says TAKE and finds out what has come of it. The journal says `offered`, and the process's stop is held, or, where there
 * is still something to be told, will be by `conclude`. Returns only when it is certain: it waits for the sdn as long as that
 * takes.
 *
 * @param conclude as {@link SourcePrepared.conclude}
 */
export async function offer(
  context: SourceAfter,
  entry: SourceEntry,
  line: SourceLine,
  conclude: () => Promise<DestinationMessage | undefined>,
): Promise<Verdict> {
  const { migration, deadlines } = context;
  let reason: unknown;
  try {
    await line.send({ type: 'TAKE', expectedEpoch: migration.epoch }, deadlines.ownedMs);
    let answer = await conclude();
    // Reports were on their way.
    while (answer === undefined || answer.type === 'REPORT' || answer.type === 'TAKEN')
      answer = await line.receive(deadlines.ownedMs, 'OWNED');
    if (answer.type === 'OWNED' && answer.epoch === migration.epoch + 1n)
      return { kind: 'given', epoch: answer.epoch, line, first: 0, owned: answer };
    reason = line.unexpected(answer, `OWNED at epoch ${migration.epoch + 1n}`);
    if (answer.type === 'GIVEN_BACK' && answer.epoch === migration.epoch + 1n) {
      line.close();
      return await takeBack(context, entry, reason);
    }
  } catch (error) {
    reason = error;
  }
  // Whatever was heard or not: the destination may have taken, or may be about to.
  line.close();
  return resolveOffer(context, entry, reason);
}

/** Asks the record, by taking the next epoch for this machine. */
export async function resolveOffer(context: SourceAfter, entry: SourceEntry, reason: unknown): Promise<Verdict> {
  const { migration } = entry;
  const { action, record } = await ask(context, migration, (known) => decideSource(entry.stage, migration, known));
  const epoch = record?.epoch ?? migration.epoch + 1n;
  switch (action) {
    case 'resume':
      return { kind: 'kept', epoch: record?.epoch ?? migration.epoch, reason };
    case 'halt':
      return { kind: 'halted', reason: contradiction(migration, record) };
    case 'kill':
      // It was taken over without this machine: nobody there waits for a word of it.
      if (entry.stage === 'followed')
        return { kind: 'given', epoch, line: undefined, first: DATAGRAMS_UNKNOWN, owned: undefined };
      return rejoin(context, entry, epoch);
  }
}

/** The destination has taken the next epoch and cannot use it: takes the one after that. */
async function takeBack(context: SourceAfter, entry: SourceEntry, reason: unknown): Promise<Verdict> {
  const later: SourceEntry = {
    ...entry,
    stage: 'offered',
    migration: { ...entry.migration, epoch: entry.migration.epoch + 1n },
  };
  // Should this program end here, the next one must not believe that the destination runs.
  const written = within(
    context.ports.clock,
    context.deadlines.stepMs,
    'the journal',
    context.ports.journal.write(later),
  );
  await written.catch((error: unknown) => context.phases.note(messageOf(error)));
  return resolveOffer(context, later, reason);
}

/** Comes back to a destination that owns. Where it cannot be reached, it owns all the same. */
async function rejoin(context: SourceAfter, entry: SourceEntry, epoch: bigint): Promise<Verdict> {
  const { deadlines, migration, phases, ports } = context;
  const isCopy = migration.mode === 'replicated';
  const deadline = new Deadline(ports.clock, patienceMs(entry, deadlines));
  for (let pauseMs = deadlines.retryMs / 64; !deadline.over; pauseMs *= 2) {
    const line = await reconnect(context, deadline).catch((error: unknown) => phases.note(messageOf(error)));
    if (line !== undefined) {
      try {
        // Not for as long as there is patience: the machine may have gone silent, and its daemon be started again meanwhile.
        const answer = await line.receive(Math.min(deadlines.stepMs, deadline.remainingMs), 'RECEIVED');
        if (answer.type === 'RECEIVED')
          return { kind: 'given', epoch, line, first: answer.datagrams, owned: undefined };
        if (answer.type === 'GIVEN_BACK' && answer.epoch === entry.migration.epoch + 1n) {
          line.close();
          return await takeBack(context, entry, line.unexpected(answer, 'RECEIVED'));
        }
        throw line.unexpected(answer, 'RECEIVED');
      } catch (error) {
        phases.note(`${migration.destination}: ${messageOf(error)}`);
        line.close();
      }
    }
    // A copy that has not heard the end of the log gives the record back.
    const returned = isCopy ? await isMineAgain(context) : undefined;
    if (returned !== undefined) return { kind: 'kept', epoch: returned, reason: lostCopy(migration) };
    await sleep(ports.clock, Math.min(pauseMs, deadlines.retryMs, deadline.remainingMs));
  }
  return { kind: 'given', epoch, line: undefined, first: 0, owned: undefined };
}

/** How long the destination is waited for; after that the process goes, or, where its memory is needed, is kept for an operator. */
function patienceMs({ migration, stage }: SourceEntry, { confirmMs, fillMs, handOverMs }: Deadlines): number {
  // At `given` it was heard to run. It waits for the word that there is no more, and cannot be moved on meanwhile.
  if (migration.mode === 'replicated') return stage === 'given' ? handOverMs : confirmMs;
  return migration.mode === 'postcopy' && stage !== 'filled' ? fillMs : handOverMs;
}

/** @returns the epoch, where the destination has given the record back; undefined where it has not, or nobody knows. */
async function isMineAgain({ ports, migration, deadlines }: SourceAfter): Promise<bigint | undefined> {
  const asking = within(ports.clock, deadlines.ownedMs, 'the sdn', ports.ownership.take(migration.epoch));
  const record = await asking.catch(() => undefined);
  return record !== undefined && record.owner === migration.source && record.epoch > migration.epoch
    ? record.epoch
    : undefined;
}

function lostCopy({ destination }: Migration): ComicranError {
  return new ComicranError('migration.failed', `${destination} lost its copy and gave the sandbox back`);
}

/**
 * A new connection on which HAND_OVER has been said. The answer is still to come.
 * @throws ComicranError where the destination cannot be reached in time
 */
export async function reconnect(context: SourceAfter, deadline: Deadline): Promise<SourceLine> {
  const { migration, ports } = context;
  const timeoutMs = deadline.remainingMs;
  const channel = await within(
    ports.clock,
    timeoutMs,
    `connecting to ${migration.destination}`,
    ports.connect(timeoutMs),
    { onLate: (late) => late.close() },
  );
  const line: SourceLine = new Line(channel, ports.clock, migration.destination);
  try {
    const { id: migrationId } = migration;
    await line.send({ type: 'HAND_OVER', version: PROTOCOL_VERSION, migrationId }, deadline.remainingMs);
    return line;
  } catch (error) {
    line.close();
    throw error;
  }
}

function ask<Action extends string>(
  { ports, deadlines, phases }: SourceAfter,
  migration: Migration,
  decide: (known: Knowledge) => Action,
): ReturnType<typeof settle<Action>> {
  const world = { ownership: ports.ownership, clock: ports.clock, deadlines };
  return settle(world, migration.epoch, decide, (reason) => phases.note(`waiting for the sdn: ${reason}`));
}
