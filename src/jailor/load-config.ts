import { readFileSync } from 'node:fs';
import { ComicranError } from '../base/errors.ts';
import { parseFullConfig } from '../base/full-config.ts';
import type { FullConfig } from '../base/sandbox-config.ts';
import { readStandardInput } from '../base/standard-input.ts';

const STANDARD_INPUT = 'the configuration on standard input';
/** What is larger is refused as a configuration, too; here it is not even kept in memory. */
const MAX_BYTES = 64 * 1024 * 1024;

/**
 * Reads and checks a full configuration.
 *
 * @param file `-` is standard input, which is read to its end.
 * @throws ComicranError config.missing-file, config.invalid
 */
export async function loadFullConfig(file: string): Promise<FullConfig> {
  if (file !== '-') return parseFullConfig(readFile(file), file);
  return parseFullConfig((await readStandardInput(STANDARD_INPUT, MAX_BYTES)).toString('utf8'), STANDARD_INPUT);
}

function readFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new ComicranError(
      'config.missing-file',
      missing ? `the configuration ${file} does not exist` : `the configuration ${file} cannot be read`,
      {
        hint: "Name a full configuration: 'comicran configer BASE.yaml -o FULL.yaml' writes one. - is standard input.",
        cause,
      },
    );
  }
}
