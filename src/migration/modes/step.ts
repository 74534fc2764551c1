import type { DestinationBefore, SourceBefore } from '../roles.ts';
import { within } from '../waiting.ts';

/** A step before TAKE: it may take as long as any, and an abort ends the wait for it. */
export function step<T>(
  { ports, deadlines, signal }: Pick<SourceBefore | DestinationBefore, 'ports' | 'deadlines' | 'signal'>,
  what: string,
  value: T | Promise<T>,
): Promise<T> {
  return within(ports.clock, deadlines.stepMs, what, value, { signal });
}
