import { resolve as absolute, basename } from 'node:path';
import { ComicranError } from '../../../base/errors.ts';
import { readInput, resolveInput } from './base-input.ts';

type Options = { readonly output?: string; readonly json?: boolean };

export async function resolve(fileName: string, options: Options): Promise<void> {
  const { formatJson, formatYaml } = await import('../../../configer/format.ts');
  const { writeFileWhole } = await import('../../../configer/text-file.ts');
  if (fileName !== '-' && options.output !== undefined && absolute(options.output) === absolute(fileName)) {
    throw new ComicranError('usage', `${options.output} is the base configuration itself`, {
      hint: 'Give the full configuration another name.',
    });
  }
  const input = await readInput(fileName);
  const { full } = await resolveInput(input);
  const asJson = options.json ?? options.output?.endsWith('.json') ?? false;
  const text = asJson ? formatJson(full) : await formatYaml(full, basename(input.name));
  if (options.output === undefined) process.stdout.write(text);
  else writeFileWhole(options.output, text);
}
