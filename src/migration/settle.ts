/** Asks the record at the sdn until it is known what to do. There is no deadline: until then nothing may run. */
import { messageOf } from '../base/errors.ts';
import type { Leftovers } from './leftovers.ts';
import type { Knowledge } from './ownership.ts';
import type { Clock, Ownership, OwnershipRecord } from './ports.ts';
import { Deadline, type Deadlines, sleep, within } from './waiting.ts';

/** The actions that are no end: they lead to another question. */
type Again = 'fence' | 'take' | 'wait';

type World = {
  readonly ownership: Pick<Ownership, 'take' | 'give' | 'lead'>;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
};

export type Settled<Action> = {
  readonly action: Action;
  /** What decided; undefined where nobody had to be asked. */
  readonly record: OwnershipRecord | undefined;
};

/**
 * @param decide decideSource or decideDestination, with the stage and the migration filled in
 * @param onSilence told each time that the sdn has not answered
 */
export async function settle<Action extends string>(
  world: Omit<World, 'ownership'> & { readonly ownership: Pick<Ownership, 'take'> },
  expectedEpoch: bigint,
  decide: (known: Knowledge) => Action,
  onSilence: (reason: string) => void,
): Promise<Settled<Exclude<Action, Again>>> {
  const { ownership, clock, deadlines } = world;
  let pauseMs = deadlines.retryMs / 64;
  for (let known: Knowledge = 'not-asked'; ; ) {
    const action = decide(known);
    if (isEnd(action)) return { action, record: typeof known === 'string' ? undefined : known };
    if (known !== 'not-asked') {
      await sleep(clock, pauseMs);
      pauseMs = Math.min(pauseMs * 2, deadlines.retryMs);
    }
    try {
      known = await within(clock, deadlines.ownedMs, 'the sdn', ownership.take(expectedEpoch));
    } catch (error) {
      known = 'no-answer';
      onSilence(messageOf(error));
    }
  }
}

/**
 * Makes the source the owner again, by whoever owns at this epoch. Asks until the sdn has answered.
 * @param onSilence told each time that it has not
 */
export async function giveBack(
  { ownership, clock, deadlines }: World,
  epoch: bigint,
  onSilence: (reason: string) => void,
): Promise<void> {
  for (let pauseMs = deadlines.retryMs / 64; ; pauseMs = Math.min(pauseMs * 2, deadlines.retryMs)) {
    try {
      await within(clock, deadlines.ownedMs, 'the sdn', ownership.give(epoch));
      return;
    } catch (error) {
      onSilence(messageOf(error));
      await sleep(clock, pauseMs);
    }
  }
}

/**
 * Leads the packets to this machine, whose process answers. Whoever ends the migration at the sdn does the same, so that
 * a failure is a delay. Does not throw.
 * @returns whether they are led here
 */
export async function lead({ ownership, clock, deadlines }: World, leftovers: Leftovers): Promise<boolean> {
  const patience = new Deadline(clock, deadlines.leadMs);
  for (let pauseMs = deadlines.retryMs / 64; ; pauseMs = Math.min(2 * pauseMs, deadlines.retryMs)) {
    try {
      await within(clock, deadlines.ownedMs, 'the sdn', ownership.lead());
      return true;
    } catch (error) {
      if (patience.over) {
        leftovers.add('leading the packets here', error);
        return false;
      }
      await sleep(clock, pauseMs);
    }
  }
}

function isEnd<Action extends string>(action: Action): action is Exclude<Action, Again> {
  return action !== 'fence' && action !== 'take' && action !== 'wait';
}
