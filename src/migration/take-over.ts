/**
 * A destination that comes to own without its source: the record, the network's route and the end of the source's way to the
 * clients are one step at the sdn. Only behind it may anything of the copy leave.
 */
import { ComicranError } from '../base/errors.ts';
import type { DestinationStage, Migration } from './journal.ts';
import { decideDestination } from './ownership.ts';
import type { Clock, Ownership, TakeoverOrder } from './ports.ts';
import { type Settled, settle } from './settle.ts';
import type { Deadlines } from './waiting.ts';

type World = { readonly ownership: Pick<Ownership, 'takeOver'>; readonly clock: Clock; readonly deadlines: Deadlines };

export type TakenOverRecord = Settled<'run' | 'destroy' | 'halt'> & {
  /** Where it is to be destroyed: why the sdn has refused; undefined: somebody else owns. */
  readonly refusal: ComicranError | undefined;
};

/**
 * Asks until it is known: a question that nobody has answered may have been heard.
 * @param stage `taking-over`, or `taking` where this machine owns already, by TAKE, and goes on without its source
 * @param onSilence told each time that the sdn has not answered
 */
export async function takeOverRecord(
  { ownership, clock, deadlines }: World,
  stage: Extract<DestinationStage, 'taking' | 'taking-over'>,
  migration: Migration,
  order: TakeoverOrder,
  onSilence: (reason: string) => void,
): Promise<TakenOverRecord> {
  let refusal: ComicranError | undefined;
  const take = async (expectedEpoch: bigint): ReturnType<Ownership['take']> => {
    try {
      return await ownership.takeOver(expectedEpoch, order);
    } catch (error) {
      if (isRefusal(error)) refusal = error;
      throw error;
    }
  };
  const settled = await settle(
    { ownership: { take }, clock, deadlines },
    migration.epoch,
    // What has been refused has not been made, and never will be.
    (known) => (refusal === undefined ? decideDestination(stage, migration, known) : 'destroy'),
    onSilence,
  );
  return { ...settled, refusal };
}

function isRefusal(error: unknown): error is ComicranError {
  return error instanceof ComicranError && (error.code === 'migration.refused' || error.code === 'sandbox.unknown');
}
