import { type Command, InvalidArgumentError, Option } from 'commander';
import { MODES } from '../../lab/demo/modes.ts';
import type { MachineCount } from '../../lab/layout.ts';
import { needRoot } from '../root.ts';
import { vmsOption } from './lab.ts';

type Options = {
  readonly json?: boolean;
  readonly vms?: MachineCount;
  readonly rate?: number;
  readonly migrations?: number;
  readonly compared: number;
  readonly mode?: string;
  readonly keep?: boolean;
};

/** By emulation a machine does in a second what a real one does in some tens of milliseconds. */
const DEFAULTS = { namespaces: { rate: 2000, migrations: 10 }, vms: { rate: 50, migrations: 2 } } as const;

function whole(text: string): number {
  if (!/^[0-9]{1,6}$/.test(text)) throw new InvalidArgumentError('a whole number is expected');
  return Number(text);
}

function atLeastOne(text: string): number {
  if (whole(text) < 1) throw new InvalidArgumentError('at least 1');
  return whole(text);
}

export function register(command: Command): void {
  command
    .option('--json', 'print the result as one line of JSON, last')
    .addOption(vmsOption('between real virtual machines (see lab up --vms)'))
    .option('--rate <n>', 'requests a second (default: 2000; with --vms 50)', atLeastOne)
    .option('--migrations <n>', 'how often the server moves (default: 10; with --vms 2)', atLeastOne)
    .option('--compared <n>', 'how often it moves in each of the other modes, to be compared', whole, 2)
    .addOption(
      new Option(
        '--mode <mode>',
        'mode of migration (default: replicated, or the best that the daemons offer)',
      ).choices([...MODES]),
    )
    .option('--keep', 'leave the lab and the server running')
    .addHelpText(
      'after',
      '\nThe exit code is 1 where a request was lost, answered twice or wrongly, or a migration did not go as asked for.\n' +
        '\nExamples:\n  npm run demo\n  npm run demo -- --json\n' +
        '  comicran demo --migrations 4 --rate 5000 --compared 0\n  comicran demo --mode stopcopy\n  npm run demo -- --vms\n',
    )
    .action(async (options: Options) => {
      needRoot('the demonstration needs root: it makes network namespaces and sandboxes');
      const { runDemo } = await import('../../lab/demo/demo.ts');
      const { holds, reportJson } = await import('../../lab/demo/report.ts');
      const { renderReport } = await import('../../lab/demo/render.ts');
      const { mode, compared, keep = false, vms } = options;
      const usual = DEFAULTS[vms !== undefined ? 'vms' : 'namespaces'];
      const { rate = usual.rate, migrations = usual.migrations } = options;
      const report = await runDemo({
        ...{ mode, rate, migrations, compared, keep, vms },
        say: (text) => void process.stderr.write(text),
      });
      process.stdout.write(renderReport(report));
      if (options.json) process.stdout.write(`${reportJson(report)}\n`);
      if (!holds(report)) process.exitCode = 1;
    });
}
