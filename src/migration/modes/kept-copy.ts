/**
 * The copy of a source that is not heard any more, before TAKE. Whether clients hear the source nobody can tell from here: its
 * machine may be dead, or only the way to it. So the copy stays silent and is kept, until somebody says that it is to take over
 * (take-over.ts), or the record says that its source has gone on.
 */
import { ComicranError, messageOf } from '../../base/errors.ts';
import type { OwnershipRecord, RestoringProcess, TakeoverOrder } from '../ports.ts';
import type { DestinationBefore } from '../roles.ts';
import { within } from '../waiting.ts';
import { step } from './step.ts';

/** Between two looks at what the copy still has to do of what it has been told. */
const LOOK_MS = 2;

export type Keeping = {
  readonly process: RestoringProcess;
  /**
   * Does what can be done for the copy.
   * @returns whether it has had, and has answered, all that has come of the log. @throws ComicranError replication.*
   */
  readonly isLevel: () => boolean;
  /** Why nothing is heard. */
  readonly cause: unknown;
};

/** Nothing has been heard of the source, as against something that does not fit, or its word that it has given up. */
export function isSilence({ line }: Pick<DestinationBefore, 'line'>, error: unknown): boolean {
  const isCode = error instanceof ComicranError && (error.code === 'peer.died' || error.code === 'deadline');
  return isCode && !line.hasGivenUp;
}

/**
 * @returns the order to take over
 * @throws ComicranError replication.*: the copy is not what its source was; ownership.lost: its source has gone on, or somebody
 * else owns; aborted
 */
export async function keepCopy(
  before: DestinationBefore & { readonly ordered: Promise<TakeoverOrder> },
  { process, isLevel, cause }: Keeping,
): Promise<TakeoverOrder> {
  const { ports, phases, deadlines, migration, line, signal, ordered } = before;
  // A source that is only slow finds it broken, and asks the record.
  line.close();
  await level(before, isLevel);
  ports.replay.rest();
  phases.enter('keep');
  phases.note(`${migration.source} is not heard any more (${messageOf(cause)}): its copy here is whole, and kept`);
  for (;;) {
    try {
      return await within(ports.clock, deadlines.keepLookMs, 'an order to take over', ordered, { signal });
    } catch (error) {
      if (!(error instanceof ComicranError) || error.code !== 'deadline') throw error;
    }
    await step(before, 'looking whether the copy is still there', process.confirm());
    const asking = within(ports.clock, deadlines.ownedMs, 'the sdn', ports.ownership.look(), { signal });
    const record = await asking.catch(() => 'no-answer' as const);
    if (record === 'no-answer') continue;
    if (record?.owner !== migration.source || record.epoch !== migration.epoch) throw gone(before, record);
  }
}

async function level(
  { ports, deadlines, migration, signal }: DestinationBefore,
  isLevel: () => boolean,
): Promise<void> {
  const untilMicros = ports.clock.nowMicros() + deadlines.stepMs * 1000;
  while (!isLevel()) {
    if (signal?.aborted) throw new ComicranError('aborted', 'the copy was given up on request');
    if (ports.clock.nowMicros() > untilMicros)
      throw new ComicranError(
        'replication.lagging',
        `the copy did not catch up with what ${migration.source} had said before it fell silent`,
      );
    await ports.replay.wait(LOOK_MS);
  }
}

function gone({ migration }: DestinationBefore, record: OwnershipRecord | undefined): ComicranError {
  const { sandbox, destination } = migration;
  const now = record === undefined ? 'it has ended' : `it belongs to ${record.owner}, epoch ${record.epoch}`;
  return new ComicranError('ownership.lost', `the copy of ${sandbox} at ${destination} is not needed any more: ${now}`);
}
