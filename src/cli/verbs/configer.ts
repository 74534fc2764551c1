import { Argument, type Command, InvalidArgumentError } from 'commander';

const HELP = `
A base configuration says what a sandbox is for; the full one lists every file, library, interpreter and symbolic link
that it needs, with their hashes. docs/configuration.md describes both.

Examples:
  comicran configer examples/square.yaml -o square.full.yaml    resolve, then: comicran smanager start square.full.yaml
  comicran configer examples/square.yaml | less                 look at what belongs to the sandbox
  (cd examples; comicran configer - < square.yaml)              standard input; relative sources start right here
  comicran configer examples/dnsmasq.yaml --json | jq .files    the same, for a program
  comicran configer tree square.full.yaml                       which file has brought which
  comicran configer check square.full.yaml                      has the machine changed since?
`;

const examples = (...lines: readonly string[]): string =>
  `\nExample${lines.length === 1 ? '' : 's'}:\n${lines.map((line) => `  comicran configer ${line}\n`).join('')}`;

function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 3600)) throw new InvalidArgumentError('A time is more than 0 and at most 3600 seconds.');
  return value;
}

export function register(command: Command): void {
  command
    .command('resolve', { isDefault: true })
    .description('write the full configuration (the word resolve may be left out)')
    .argument('<base>', 'base configuration (YAML or JSON); - is standard input')
    .option('-o, --output <file>', 'write the full configuration there, not to standard output')
    .option('--json', 'write JSON (a file that ends in .json gets JSON anyway)')
    .addHelpText(
      'after',
      examples('examples/square.yaml -o square.full.yaml', 'resolve examples/dnsmasq.yaml --json | jq .files'),
    )
    .action(async (base: string, options: object) => (await import('./configer/resolve.ts')).resolve(base, options));
  command
    .command('schema')
    .description('print the JSON Schema of a configuration, for an editor')
    .addArgument(new Argument('[which]', 'which configuration').choices(['base', 'full']).default('base'))
    .addHelpText(
      'after',
      '\nExample: the first line of a configuration, for editors with a YAML language server\n' +
        '  comicran configer schema > base-config.schema.json\n' +
        '  # yaml-language-server: $schema=base-config.schema.json\n',
    )
    .action(async (which: 'base' | 'full') => (await import('./configer/schema.ts')).schema(which));
  command
    .command('tree')
    .description('show what has brought each file, with sizes')
    .argument('<full>', 'full configuration; - is standard input')
    .option('--json', 'as JSON')
    .addHelpText('after', examples('tree square.full.yaml', 'examples/square.yaml | comicran configer tree -'))
    .action(async (file: string, options: object) => (await import('./configer/tree.ts')).tree(file, options));
  command
    .command('diff')
    .description('show what differs between two full configurations; exit code 1 if anything does')
    .argument('<before>', 'full configuration')
    .argument('<after>', 'full configuration')
    .option('--json', 'as JSON')
    .addHelpText('after', examples('diff square.full.yaml clock.full.yaml'))
    .action(async (before: string, after: string, options: object) =>
      (await import('./configer/diff.ts')).diff(before, after, options),
    );
  command
    .command('check')
    .description('see whether sandboxes can still be made here and are complete; exit code 1 if not')
    .argument('<full...>', 'full configurations; of several also that none has the id or address of another')
    .option('--json', 'as JSON')
    .addHelpText('after', examples('check square.full.yaml', 'check *.full.yaml'))
    .action(async (files: string[], options: object) => (await import('./configer/check.ts')).check(files, options));
  command
    .command('trace')
    .description('run the program once in a throw-away sandbox and tell what it uses that the sandbox lacks')
    .argument('<base>', 'base configuration; - is standard input')
    .option('--time <seconds>', 'end the run after so long', seconds, 5)
    .option('--probe <command>', "end it when this succeeds in the sandbox's network; tried again and again")
    .option('--write', 'write the additions into the base configuration, not to standard output')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      "\nExample: what a name server opens until it has answered\n  comicran configer trace dnsmasq.yaml --probe 'dig @127.0.0.1 -p 5353 example.org'\n",
    )
    .action(async (file: string, options: { time: number }) =>
      (await import('./configer/trace.ts')).trace(file, options),
    );
  const several = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];
  command
    .command('oci')
    .description('write the full configuration of an OCI bundle: a config.json with a root file system')
    .argument('<bundle>', 'directory of the bundle')
    .option('--id <id>', "name of the sandbox (default: the annotation org.comicran.id, or the directory's name)")
    .option('--address <address>', "the sandbox's own IPv4 address (default: the annotation org.comicran.address)")
    .option('--port <port>', 'such as 5006/udp,service=5006,publish=5006 (default: org.comicran.ports)', several)
    .option('--writable <directory>', 'an empty tmpfs there', several)
    .option('--ignore <key>', 'do without a key of the bundle that is not supported, such as hooks', several)
    .option('-o, --output <file>', 'write the full configuration there (JSON; YAML if it ends in .yaml)')
    .option('-q, --quiet', 'do not tell what is different in a sandbox and harmless')
    .addHelpText(
      'after',
      '\nExample:\n  comicran configer oci bundle --address 10.88.0.5 --port 7/udp,service=7 -o full.json\n',
    )
    .action(async (directory: string, options: object) => (await import('./configer/oci.ts')).oci(directory, options));
  command.addHelpText('after', HELP);
}
