/** Outcomes of the roles as they cross threads: errors in a form that survives it. */
import type { DestinationOutcome, SourceOutcome } from '../../migration/outcome.ts';
import { carry } from './carried-error.ts';
import type { JobOutcome } from './job.ts';

export function sourceOutcome(outcome: SourceOutcome): JobOutcome {
  const leftovers = outcome.leftovers.map((error) => carry(error));
  if (outcome.outcome === 'moved') return { ...outcome, leftovers };
  const epoch = outcome.outcome === 'halted' ? undefined : outcome.epoch;
  const ended = outcome.outcome === 'stayed' && outcome.ended;
  return { outcome: outcome.outcome, error: carry(outcome.error), epoch, ended, leftovers };
}

/** @param hostPid of the process that was restored. */
export function destinationOutcome(outcome: DestinationOutcome, hostPid: number): JobOutcome {
  const leftovers = outcome.leftovers.map((error) => carry(error));
  if (outcome.outcome === 'owned') return { ...outcome, hostPid, leftovers };
  return { outcome: outcome.outcome, error: carry(outcome.error), epoch: undefined, leftovers };
}
