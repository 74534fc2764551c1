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
  comicran configer examples/dnsmasq.yaml --json | jq .files    the same, for a program
`;

export function register(command: Command): void {
  command
    .argument('<base>', 'base configuration (YAML or JSON)')
    .option('-o, --output <file>', 'write the full configuration there, not to standard output')
    .option('--json', 'write JSON (a file that ends in .json gets JSON anyway)')
    .addHelpText('after', HELP)
    .action(async (base: string, options: Options) => run(base, options));
}

async function run(fileName: string, options: Options): Promise<void> {
  const { parseBaseConfig } = await import('../../configer/base-config.ts');
  const { resolveConfig } = await import('../../configer/resolve.ts');
  const { hostLoaderFacts } = await import('../../configer/loader-facts.ts');
  const { formatJson, formatYaml } = await import('../../configer/format.ts');
  const { readTextFile, writeFileWhole } = await import('../../configer/text-file.ts');
  const { terminalProgress } = await import('../../configer/terminal-progress.ts');

  if (options.output !== undefined && resolve(options.output) === resolve(fileName)) {
    throw new ComicranError('usage', `${options.output} is the base configuration itself`, {
      hint: 'Give the full configuration another name.',
    });
  }
  const base = parseBaseConfig(readTextFile(fileName), fileName);
  const progress = terminalProgress(process.stderr);
  const config = await resolveConfig(base, {
    directory: dirname(resolve(fileName)),
    facts: hostLoaderFacts(),
    minimalEtc: join(import.meta.dirname, '..', '..', '..', 'share', 'etc'),
    onProgress: progress.report,
  }).finally(progress.end);
  const asJson = options.json ?? options.output?.endsWith('.json') ?? false;
  const text = asJson ? formatJson(config) : await formatYaml(config, basename(fileName));
  if (options.output === undefined) process.stdout.write(text);
  else writeFileWhole(options.output, text);
}
