/** How a program of `comicran` says that it has failed. */
import { describeError } from '../base/errors.ts';
import { explainPermission } from './root.ts';

/** @param isForAnybody what it may not read or write is no reason to become root. */
export function reportFailure(thrown: unknown, isForAnybody = false): void {
  process.stderr.write(`comicran: ${describeError(isForAnybody ? thrown : explainPermission(thrown))}\n`);
}
