import { basename, dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { ComicranError } from '../../base/errors.ts';

type Options = { readonly output?: string; readonly json?: boolean };

const HELP = `
A base configuration says what a sandbox is for; the full one lists every file, library, interpreter and symbolic link
that it needs, with their hashes. docs/configuration.md describes both.

Examples:
  comicran configer examples/square.yaml -o square.full.yaml    resolve, then: comicran smanager start square.full.yaml
  comicran configer examples/square.yaml | less                 look at what belongs to the sandbox
  comicran configer - < box.yaml                                standard input; relative sources start right here
  comicran configer examples/dnsmasq.yaml --json | jq .files    the same, for a program
`;

export function register(command: Command): void {
  command
    .argument('<base>', 'base configuration (YAML or JSON); - is standard input')
    .option('-o, --output <file>', 'write the full configuration there, not to standard output')
    .option('--json', 'write JSON (a file that ends in .json gets JSON anyway)')
    .addHelpText('after', HELP)
    .action(async (base: string, options: Options) => run(base, options));
}

type Input = { readonly text: string; readonly name: string; readonly directory: string };

/** @returns the text, what it is called in messages, and where its relative sources start. */
async function readInput(file: string): Promise<Input> {
  const { decodeText, readTextFile } = await import('../../configer/text-file.ts');
  if (file !== '-') return { text: readTextFile(file), name: file, directory: dirname(resolve(file)) };
  const { readStandardInput } = await import('../../base/standard-input.ts');
  const { MAX_BYTES } = await import('../../configer/base-config.ts');
  const name = 'standard input';
  const bytes = await readStandardInput(`the base configuration on ${name}`, MAX_BYTES);
  return { text: decodeText(bytes, name), name, directory: process.cwd() };
}

async function run(fileName: string, options: Options): Promise<void> {
  const { parseBaseConfig } = await import('../../configer/base-config.ts');
  const { resolveConfig } = await import('../../configer/resolve.ts');
  const { hostLoaderFacts } = await import('../../configer/loader-facts.ts');
  const { formatJson, formatYaml } = await import('../../configer/format.ts');
  const { writeFileWhole } = await import('../../configer/text-file.ts');
  const { terminalProgress } = await import('../../configer/terminal-progress.ts');

  if (fileName !== '-' && options.output !== undefined && resolve(options.output) === resolve(fileName)) {
    throw new ComicranError('usage', `${options.output} is the base configuration itself`, {
      hint: 'Give the full configuration another name.',
    });
  }
  const { text: input, name, directory } = await readInput(fileName);
  const base = parseBaseConfig(input, name);
  const progress = terminalProgress(process.stderr);
  const config = await resolveConfig(base, {
    directory,
    facts: hostLoaderFacts(),
    minimalEtc: join(import.meta.dirname, '..', '..', '..', 'share', 'etc'),
    onProgress: progress.report,
  }).finally(progress.end);
  const asJson = options.json ?? options.output?.endsWith('.json') ?? false;
  const text = asJson ? formatJson(config) : await formatYaml(config, basename(name));
  if (options.output === undefined) process.stdout.write(text);
  else writeFileWhole(options.output, text);
}
