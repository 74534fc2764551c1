/** Feeding a copy from the log, and looking at what it says of itself. */
import { ComicranError } from '../../base/errors.ts';
import type { LogSender } from '../log-sender.ts';
import type { LogCount } from '../ports.ts';
import type { Replies } from '../replies.ts';
import type { SourceBefore } from '../roles.ts';
import { abortedError } from '../waiting.ts';

/** Longest wait for something to log before the copy's reports are looked at. */
export const LOOK_MS = 2;

/** Logs and looks, until there is what is looked for. */
export async function following<Found>(
  { ports, budget, signal }: Pick<SourceBefore, 'ports' | 'budget' | 'signal'>,
  log: LogSender,
  replies: Replies,
  look: () => Found | undefined,
): Promise<Found> {
  for (;;) {
    if (signal?.aborted) throw abortedError();
    if (budget.over) throw new ComicranError('deadline', 'time was up');
    replies.orFailure();
    await log.pump();
    const found = look();
    if (found !== undefined) return found;
    await Promise.race([ports.traffic.wait(Math.min(LOOK_MS, budget.remainingMs)), replies.next()]);
  }
}

/** By how much the copy is behind what it has been sent, as far as it has said. */
export function lagOf(log: LogSender, { report }: Replies): LogCount {
  const { inputs, outputs } = log.sent;
  return { inputs: inputs - (report?.injected ?? 0), outputs: outputs - (report?.compared ?? 0) };
}
