import { dirname, join, resolve } from 'node:path';
import { ComicranError } from '../../../base/errors.ts';
import type { FullConfig } from '../../../base/sandbox-config.ts';
import type { BaseConfig } from '../../../configer/base-config.ts';

export type Input = {
  readonly text: string;
  /** What it is called in messages. */
  readonly name: string;
  /** Where its relative sources start. */
  readonly directory: string;
};

/** @param file `-` is standard input. @throws ComicranError config.missing-file, config.invalid */
export async function readInput(file: string): Promise<Input> {
  const { decodeText, readTextFile } = await import('../../../base/text-file.ts');
  const { MAX_BYTES } = await import('../../../configer/base-config.ts');
  if (file !== '-') return { text: readTextFile(file, MAX_BYTES), name: file, directory: dirname(resolve(file)) };
  const { readStandardInput } = await import('../../../base/standard-input.ts');
  const name = 'standard input';
  const bytes = await readStandardInput(`the base configuration on ${name}`, MAX_BYTES);
  return { text: decodeText(bytes, name), name, directory: process.cwd() };
}

/** The full configuration of what was read, with a progress bar on a terminal. */
export async function resolveInput(input: Input): Promise<{ readonly base: BaseConfig; readonly full: FullConfig }> {
  const { parseBaseConfig } = await import('../../../configer/base-config.ts');
  const { resolveConfig } = await import('../../../configer/resolve.ts');
  const { hostLoaderFacts } = await import('../../../configer/loader-facts.ts');
  const { terminalProgress } = await import('../../../configer/terminal-progress.ts');
  const base = parseBaseConfig(input.text, input.name);
  const progress = terminalProgress(process.stderr);
  const full = await resolveConfig(base, {
    directory: input.directory,
    facts: hostLoaderFacts(),
    share: join(import.meta.dirname, '..', '..', '..', '..', 'share'),
    onNote: (text) => process.stderr.write(`note: ${text}\n`),
    onProgress: progress.report,
  })
    .catch(async (thrown: unknown) => {
      throw await withPlace(thrown, input);
    })
    .finally(progress.end);
  return { base, full };
}

/** A failure that a key of the configuration has led to, with the place of that key. */
async function withPlace(thrown: unknown, { text, name }: Input): Promise<unknown> {
  const { ConfiguredError } = await import('../../../configer/configured-error.ts');
  if (!(thrown instanceof ConfiguredError)) return thrown;
  const { pathText, placeOf } = await import('../../../base/config-text.ts');
  const { code, message, hint, cause, path } = thrown;
  return new ComicranError(code, `${placeOf(text, path, name)}: ${pathText(path)}: ${message}`, {
    ...(hint === undefined ? {} : { hint }),
    ...(cause === undefined ? {} : { cause }),
  });
}
