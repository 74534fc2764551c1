/**
 * `comicran jailor run` without the rest of comicran. scripts/bundle.ts makes one file of it and of all that a start needs,
 * dist/cli/jailor-run.cjs, which bin/comicran prefers: a sandbox is not to wait until Node has found and linked a hundred
 * modules, which takes longer than to make it. Whatever this does not know (help, mistakes, --dry-run), and everything
 * where a source file has changed since the bundle was made, is left to the program that knows all.
 */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { hastenMoves } from '../linux/cgroup-moves.ts';
import { readRunWords } from './run-words.ts';

/** Source files in the bundle, relative to the project; put there by scripts/bundle.ts. */
declare const BUNDLED_SOURCES: readonly string[];

const HOME = join(import.meta.dirname, '../..');

/** An installed package has no sources that could have changed. */
function isFresh(): boolean {
  if (!existsSync(join(HOME, 'src'))) return true;
  const { mtimeMs } = statSync(join(HOME, 'dist/cli/jailor-run.cjs'));
  return BUNDLED_SOURCES.every((source) => {
    const found = statSync(join(HOME, source), { throwIfNoEntry: false });
    return found !== undefined && found.mtimeMs <= mtimeMs;
  });
}

async function main(): Promise<void> {
  const [, , verb, command, ...words] = process.argv;
  const run = verb === 'jailor' && command === 'run' && isFresh() ? readRunWords(words) : undefined;
  if (run === undefined) {
    const sources = join(HOME, 'src/cli/main.ts');
    await import(pathToFileURL(existsSync(sources) ? sources : join(HOME, 'dist/cli/main.js')).href);
    return;
  }
  hastenMoves();
  try {
    const { runJailor } = await import('./verbs/jailor-run.ts');
    await runJailor(run.file, run.flags);
  } catch (thrown) {
    const { reportFailure } = await import('./report.ts');
    reportFailure(thrown);
    process.exit(1);
  }
}

void main();
