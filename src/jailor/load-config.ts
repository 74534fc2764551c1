import { FULL_CONFIG_MAX_BYTES, parseFullConfig } from '../base/full-config.ts';
import type { FullConfig } from '../base/sandbox-config.ts';
import { readStandardInput } from '../base/standard-input.ts';
import { decodeText, readTextFile } from '../base/text-file.ts';

const STANDARD_INPUT = 'the configuration on standard input';
const HINT = "Name a full configuration: 'comicran configer BASE.yaml -o FULL.yaml' writes one. - is standard input.";

/**
 * Reads and checks a full configuration. What is longer than one can be is not read to its end.
 *
 * @param file `-` is standard input, which is read to its end.
 * @throws ComicranError config.missing-file, config.invalid
 */
export async function loadFullConfig(file: string): Promise<FullConfig> {
  if (file !== '-') return parseFullConfig(readTextFile(file, FULL_CONFIG_MAX_BYTES, HINT), file);
  const bytes = await readStandardInput(STANDARD_INPUT, FULL_CONFIG_MAX_BYTES);
  return parseFullConfig(decodeText(bytes, STANDARD_INPUT), STANDARD_INPUT);
}
