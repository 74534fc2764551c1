import type { FullConfig } from '../../../base/sandbox-config.ts';

/** @param file `-` is standard input. @throws ComicranError config.missing-file, config.invalid */
export async function readFull(file: string): Promise<FullConfig> {
  const { parseFullConfig, FULL_CONFIG_MAX_BYTES } = await import('../../../base/full-config.ts');
  const { decodeText, readTextFile } = await import('../../../base/text-file.ts');
  if (file !== '-') return parseFullConfig(readTextFile(file, FULL_CONFIG_MAX_BYTES), file);
  const { readStandardInput } = await import('../../../base/standard-input.ts');
  const name = 'standard input';
  const bytes = await readStandardInput(`the full configuration on ${name}`, FULL_CONFIG_MAX_BYTES);
  return parseFullConfig(decodeText(bytes, name), name);
}
