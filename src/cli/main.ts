/** The executable `comicran`: finds the verb, loads that verb's file alone, and reports a failure once. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { ComicranError, failureJson } from '../base/errors.ts';
import { suggestion } from '../base/suggest.ts';
import { explainMistakes } from '../base/usage-help.ts';
import { reportFailure } from './report.ts';
import { VERBS, type VerbName } from './verbs.ts';

function isVerb(name: string): name is VerbName {
  return Object.hasOwn(VERBS, name);
}

/** Programs that anybody may run: what they may not read or write is no reason to become root. */
const FOR_ANYBODY: ReadonlySet<string | undefined> = new Set(['configer', 'client', 'server']);

const verbOf = (argv: readonly string[]): string | undefined => argv.find((word) => !word.startsWith('-'));

/** `help VERB WORD…` as `VERB WORD… --help`: the verb is loaded then, and knows its commands. */
function withoutHelpWord(argv: readonly string[]): readonly string[] {
  return argv[0] === 'help' && argv[1] !== undefined ? [...argv.slice(1), '--help'] : argv;
}

function version(): string {
  const text = readFileSync(join(import.meta.dirname, '..', '..', 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

async function main(argv: readonly string[]): Promise<void> {
  const program = new Command('comicran')
    .description('Moves a running server process, in its own sandbox, from one Linux machine to another.')
    .configureHelp({ showGlobalOptions: true })
    .exitOverride();
  // Only the verb that is asked for is loaded: jailor starts in a third of the time that everything would take.
  const wanted = verbOf(argv);
  if (wanted === undefined) program.version(version(), '--version', 'print the version');
  for (const [name, verb] of Object.entries(VERBS)) {
    if (name === wanted) {
      const { register } = await verb.load();
      register(program.command(name).description(verb.summary));
    } else {
      program.command(name).description(verb.summary);
    }
  }
  program.addHelpText(
    'after',
    '\nExamples:\n  comicran lab up                          four nodes on this machine\n' +
      '  comicran smanager ps                     what runs where\n' +
      '  comicran smanager migrate square vm2\n',
  );
  if (wanted !== undefined && !wanted.startsWith('-') && !isVerb(wanted) && wanted !== 'help') {
    throw new ComicranError('usage', `'${wanted}' is not a command of comicran`, {
      hint: `${suggestion(wanted, Object.keys(VERBS), 'The commands are')} 'comicran --help' says what each is for.`,
    });
  }
  if (wanted === undefined && argv.length === 0) {
    program.outputHelp();
    return;
  }
  explainMistakes(program, 'comicran');
  await program.parseAsync([...argv], { from: 'user' });
}

try {
  await main(withoutHelpWord(process.argv.slice(2)));
} catch (thrown) {
  if (thrown instanceof CommanderError) {
    // commander has said what was wrong, on the right stream.
    process.exitCode = thrown.exitCode === 0 ? 0 : 1;
    if (thrown.exitCode !== 0 && process.argv.includes('--json')) process.stdout.write(failureJson(thrown));
  } else {
    reportFailure(thrown, FOR_ANYBODY.has(verbOf(process.argv.slice(2))));
    // Connections of the failed command may still be open; nothing is left to wait for.
    process.exit(1);
  }
}
