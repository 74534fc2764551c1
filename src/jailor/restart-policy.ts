/** Whether and when a root process that has ended by itself is started again. Pure. */
import type { RestartSpec } from '../base/sandbox-config.ts';
import type { Exit, Restarts } from './state.ts';

const FIRST_BACKOFF_MS = 200;
const LONGEST_BACKOFF_MS = 60_000;
/** A process that has run so long has started well: what comes then is not the same trouble again. */
export const STEADY_MS = 10_000;

export type NextStart =
  | { readonly kind: 'start'; readonly delayMs: number; readonly inRow: number }
  /** `gaveUp`: the policy would start it again, but not so often. */
  | { readonly kind: 'end'; readonly gaveUp: boolean };

/** @param ranMs how long it ran. */
export function nextStart(
  spec: RestartSpec | undefined,
  { inRow }: Pick<Restarts, 'inRow'>,
  exit: Exit,
  ranMs: number,
): NextStart {
  const failed = exit.reason !== 'ended' || exit.code !== 0;
  const wanted = spec !== undefined && (spec.policy === 'always' || (spec.policy === 'on-failure' && failed));
  if (!wanted) return { kind: 'end', gaveUp: false };
  const before = ranMs >= STEADY_MS ? 0 : inRow;
  if (before >= (spec.max ?? Number.POSITIVE_INFINITY)) return { kind: 'end', gaveUp: true };
  const first = spec.backoffMs ?? FIRST_BACKOFF_MS;
  const longest = Math.max(first, spec.longestBackoffMs ?? LONGEST_BACKOFF_MS);
  return { kind: 'start', delayMs: Math.min(longest, first * 2 ** Math.min(before, 40)), inRow: before + 1 };
}
