/**
 * Who may run: the one decision of a migration, as a function of how far this side has got and what the record at the
 * sdn says. Both roles use it, and so does a daemon that starts again and finds a migration in its journal.
 *
 * The record stands at (source, n) when a migration begins. Each epoch is taken at most once, by compare-and-set from
 * the one before, so of "the destination takes n + 1" and "the source takes n + 1 for itself" exactly one can ever
 * succeed, in whatever order, however late and however often either is tried. Taking its own next epoch is how the
 * source fences the destination.
 */
import { unreachable } from '../base/assert.ts';
import { ComicranError } from '../base/errors.ts';
import type { DestinationStage, Migration, SourceStage } from './journal.ts';
import type { OwnershipRecord } from './ports.ts';

/** What this side knows of the record: it has not asked, has asked and got no answer, or the record. */
export type Knowledge = 'not-asked' | 'no-answer' | OwnershipRecord;

/** What the source does with its process. */
export type SourceAction =
  /** Lets it run on. */
  | 'resume'
  /** Takes the next epoch for itself, then decides again. */
  | 'fence'
  /** The destination owns: hands over what waits in its sockets, and what it misses of its memory, then ends it. */
  | 'kill'
  /** Leaves it stopped and asks again later. */
  | 'wait'
  /** Leaves it stopped for an operator: the record says what no migration can have written. */
  | 'halt';

export function decideSource(stage: SourceStage, migration: Migration, known: Knowledge): SourceAction {
  switch (stage) {
    case 'sending':
      // TAKE has not been sent, and the copy is not whole: the destination has not touched the record and destroys what it has.
      return 'resume';
    case 'given':
    case 'filled':
      return 'kill';
    // A copy that is whole may have been let take over without TAKE.
    case 'followed':
    case 'offered': {
      if (known === 'not-asked') return 'fence';
      if (known === 'no-answer') return 'wait';
      const mine = known.owner === migration.source;
      if (known.epoch > migration.epoch) return mine ? 'resume' : 'kill';
      // The record is as it was before the migration, or older than that: a backup, another sandbox.
      return mine && known.epoch === migration.epoch ? 'fence' : 'halt';
    }
    default:
      return unreachable(stage);
  }
}

/** What the destination does with its process, which is complete and stopped. */
export type DestinationAction =
  /** Lets it run. */
  | 'run'
  /** Makes this machine the owner, then decides again. */
  | 'take'
  /** Destroys it: it never ran, and never will. */
  | 'destroy'
  /** Leaves it stopped and asks again later: a compare-and-set that nobody answered may still be made. */
  | 'wait'
  /** Leaves it stopped for an operator. */
  | 'halt';

export function decideDestination(stage: DestinationStage, migration: Migration, known: Knowledge): DestinationAction {
  switch (stage) {
    case 'receiving':
      return 'destroy';
    case 'owned':
    case 'filled':
      return 'run';
    case 'taking':
    case 'taking-over': {
      if (known === 'not-asked') return 'take';
      if (known === 'no-answer') return 'wait';
      const mine = known.owner === migration.destination;
      if (mine) return known.epoch === migration.epoch + 1n ? 'run' : 'halt';
      if (known.epoch > migration.epoch) return 'destroy';
      return known.epoch === migration.epoch ? 'take' : 'halt';
    }
    default:
      return unreachable(stage);
  }
}

/** Why a side is halted. */
export function contradiction(
  migration: Migration,
  record: { readonly owner: string; readonly epoch: bigint } | undefined,
): ComicranError {
  const found = record === undefined ? 'nothing' : `${record.owner} at epoch ${record.epoch}`;
  return new ComicranError(
    'ownership.lost',
    `the record of sandbox ${migration.sandbox} names ${found}; this migration began at ${migration.source}, epoch ${migration.epoch}`,
    {
      hint: 'The record is not the one that this migration knew: look where the sandbox runs before ending either side.',
    },
  );
}
