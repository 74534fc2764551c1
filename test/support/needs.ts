/** What a test needs of the machine. Where it is not there the test is skipped with the reason; never with MUST_RUN=1. */
import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';

function hasProgram(name: string): boolean {
  if (name.startsWith('/')) return existsSync(name);
  return (process.env['PATH'] ?? '').split(':').some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * @param wanted `root`, or programs: names, or paths.
 * @returns the reason for a skip, or false; for the `skip` of a test.
 */
export function needs(...wanted: readonly string[]): string | false {
  const missing = wanted.filter((name) => (name === 'root' ? process.getuid?.() !== 0 : !hasProgram(name)));
  if (missing.length === 0) return false;
  const reason = `needs ${missing.join(', ')}`;
  if (process.env['MUST_RUN'] === '1') throw new Error(`${reason}, and MUST_RUN=1 forbids a skip`);
  return reason;
}
