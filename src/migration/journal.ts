/**
 * What each side of a migration has noted before which step, and what a daemon that starts again learns from it.
 *
 *     source        noted before             found after a restart, it means
 *     sending       the freeze               TAKE was not sent: the process is the only one, it runs on
 *     followed      the copy may be whole    (replicated) it may have been let take over: the record decides
 *     offered       the stop is held, TAKE   the destination may own: the record at the sdn decides
 *     given         the sockets are drained  the destination owns and runs: the process here ends
 *     filled        the process is ended     (postcopy) the destination has all pages: what is left of the process ends
 *
 *     destination   noted before             found after a restart, it means
 *     receiving     anything is built        TAKE was not acted on: what was built is destroyed
 *     taking        the compare-and-set      it may have been made: repeated, and the record decides
 *     taking-over   the same, without TAKE   the same, and it is not given back: the source is taken for dead
 *     owned         the process is let run   this machine owns: it runs
 *     filled        the source is told       (postcopy) no page is missing: the source may not know it yet
 *
 * The steps away from `sending` and from `receiving` are the only ones that matter for safety; the lines `given` and `owned`
 * spare the question to the sdn.
 */
import { assert } from '../base/assert.ts';
import { ComicranError } from '../base/errors.ts';
import { MODES, type ModeName } from './modes.ts';

/** One migration, as both sides know it before the first message. */
export type Migration = {
  /** Unique over all migrations. */
  readonly id: string;
  readonly sandbox: string;
  readonly mode: ModeName;
  /** Names of the two machines, as the ownership record has them. */
  readonly source: string;
  readonly destination: string;
  /** Of the record while the source owns; the destination takes the next one. */
  readonly epoch: bigint;
};

export const SOURCE_STAGES = ['sending', 'followed', 'offered', 'given', 'filled'] as const;
export const DESTINATION_STAGES = ['receiving', 'taking', 'taking-over', 'owned', 'filled'] as const;
export type SourceStage = (typeof SOURCE_STAGES)[number];
export type DestinationStage = (typeof DESTINATION_STAGES)[number];

export type SourceEntry = { readonly side: 'source'; readonly stage: SourceStage; readonly migration: Migration };
export type DestinationEntry = {
  readonly side: 'destination';
  readonly stage: DestinationStage;
  readonly migration: Migration;
};
export type JournalEntry = SourceEntry | DestinationEntry;

const VERSION = 1;

/** One line of JSON, for a file. */
export function journalToText(entry: JournalEntry): string {
  const { migration, ...rest } = entry;
  return `${JSON.stringify({ version: VERSION, ...rest, migration: { ...migration, epoch: String(migration.epoch) } })}\n`;
}

/**
 * @param name what the text is called in errors, such as the file's path
 * @throws ComicranError migration.journal
 */
export function journalFromText(text: string, name: string): JournalEntry {
  const fail = (problem: string): never => {
    throw new ComicranError('migration.journal', `${name} is not the journal of a migration: ${problem}`, {
      hint: 'Look which machine runs the sandbox, end what is left of it elsewhere, and remove the file.',
    });
  };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return fail('it is not JSON');
  }
  const record = (from: unknown, what: string): Record<string, unknown> =>
    typeof from === 'object' && from !== null ? (from as Record<string, unknown>) : fail(`${what} is missing`);
  const entry = record(value, 'the entry');
  if (entry['version'] !== VERSION) return fail(`version ${String(entry['version'])}, known is ${VERSION}`);
  const fields = record(entry['migration'], 'migration');
  const word = (key: string): string => {
    const found = fields[key];
    return typeof found === 'string' && found !== '' ? found : fail(`migration.${key} is missing`);
  };
  const epoch = word('epoch');
  if (!/^\d{1,20}$/.test(epoch)) return fail(`migration.epoch is ${epoch}`);
  const mode = MODES.find((known) => known === word('mode')) ?? fail(`migration.mode is ${word('mode')}`);
  const migration: Migration = {
    id: word('id'),
    sandbox: word('sandbox'),
    mode,
    source: word('source'),
    destination: word('destination'),
    epoch: BigInt(epoch),
  };
  const { side, stage } = entry;
  const sourceStage = SOURCE_STAGES.find((known) => side === 'source' && stage === known);
  if (sourceStage !== undefined) return { side: 'source', stage: sourceStage, migration };
  const destinationStage = DESTINATION_STAGES.find((known) => side === 'destination' && stage === known);
  if (destinationStage !== undefined) return { side: 'destination', stage: destinationStage, migration };
  return fail(`side ${String(side)}, stage ${String(stage)}`);
}

/** The entry of a later stage. A stage never goes back. */
export function advance<Entry extends JournalEntry>(entry: Entry, stage: Entry['stage']): Entry {
  const order: readonly string[] = entry.side === 'source' ? SOURCE_STAGES : DESTINATION_STAGES;
  assert(order.indexOf(stage) >= order.indexOf(entry.stage), `journal from ${entry.stage} back to ${stage}`);
  return { ...entry, stage };
}
