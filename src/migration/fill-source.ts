/**
 * Postcopy, the source behind OWNED: its process stands still and is read, until the destination has said that it misses
 * nothing any more. Only then it may end.
 */
import { ComicranError, messageOf } from '../base/errors.ts';
import type { FilledMessage } from './messages.ts';
import { PAGE_BYTES } from './messages.ts';
import { reconnect } from './offer.ts';
import type { SourceAfter, SourceLine } from './roles.ts';
import { Deadline, sleep } from './waiting.ts';

export type Filled = { readonly filled: FilledMessage; readonly line: SourceLine };

/**
 * @param first where the destination is to be heard; undefined: it is to be reached anew
 * @throws ComicranError peer.died: nothing was heard of it for too long; what it says where it gives up
 */
export async function awaitFilled(context: SourceAfter, first: SourceLine | undefined): Promise<Filled> {
  const { ports, deadlines, migration, phases } = context;
  let line = first;
  let quiet = new Deadline(ports.clock, deadlines.fillMs);
  for (let pauseMs = deadlines.retryMs / 64; ; ) {
    try {
      line ??= await comeBack(context);
      const message = await line.receive(deadlines.stepMs, 'FILLED');
      quiet = new Deadline(ports.clock, deadlines.fillMs);
      pauseMs = deadlines.retryMs / 64;
      if (message.type === 'FILLED') return { filled: message, line };
      if (message.type === 'FILLING') phases.setMissing(message.missingPages * PAGE_BYTES);
      else if (message.type === 'FAILED') throw new GivenUp(line.unexpected(message, 'FILLED'));
      else if (message.type !== 'HANDED_OVER') throw line.unexpected(message, 'FILLED');
    } catch (error) {
      line?.close();
      line = undefined;
      if (error instanceof GivenUp) throw error.reason;
      if (quiet.over) throw silent(migration.destination, error);
      phases.note(`${migration.destination}: ${messageOf(error)}`);
      await sleep(ports.clock, pauseMs);
      pauseMs = Math.min(pauseMs * 2, deadlines.retryMs);
    }
  }
}

async function comeBack(context: SourceAfter): Promise<SourceLine> {
  const deadline = new Deadline(context.ports.clock, context.deadlines.stepMs);
  const line = await reconnect(context, deadline);
  try {
    await line.expect('RECEIVED', deadline.remainingMs);
    return line;
  } catch (error) {
    line.close();
    throw error;
  }
}

/** The destination cannot be helped by asking again. */
class GivenUp extends Error {
  readonly reason: ComicranError;

  constructor(reason: ComicranError) {
    super(reason.message);
    this.reason = reason;
  }
}

function silent(destination: string, cause: unknown): ComicranError {
  return new ComicranError('peer.died', `${destination} owns, and has not said that it has all of the memory`, {
    cause,
    hint: `The process stands still here and is what ${destination} misses: bring ${destination} back, or end both.`,
  });
}
