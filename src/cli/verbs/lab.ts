import type { Command } from 'commander';
import { ComicranError } from '../../base/errors.ts';
import { needRoot as needRootFor } from '../root.ts';

/** As systemctl says it of a unit that is not active. */
const NOT_UP = 3;

const say = (text: string): void => void process.stderr.write(text);

async function loadLayout() {
  const { labLayout } = await import('../../lab/layout.ts');
  return labLayout();
}

function needRoot(): void {
  if (process.platform !== 'linux') throw new ComicranError('needs.linux', 'the lab needs Linux');
  needRootFor('the lab needs root: it makes network namespaces');
}

async function up(): Promise<void> {
  needRoot();
  const { labUp } = await import('../../lab/lab.ts');
  await labUp(await loadLayout(), say);
}

async function down(): Promise<void> {
  needRoot();
  const { labDown } = await import('../../lab/lab.ts');
  if (!(await labDown(await loadLayout(), say))) say('there is no lab\n');
}

async function status(options: { readonly json?: boolean }): Promise<void> {
  needRoot();
  const { labStatus, renderStatus } = await import('../../lab/status.ts');
  const found = await labStatus(await loadLayout());
  process.stdout.write(options.json === true ? `${JSON.stringify(found)}\n` : renderStatus(found));
  if (!found.up) process.exitCode = NOT_UP;
}

async function exec(node: string, command: readonly string[]): Promise<void> {
  needRoot();
  const { execInNode } = await import('../../lab/exec.ts');
  execInNode(await loadLayout(), node, command);
}

async function env(): Promise<void> {
  const { existsSync } = await import('node:fs');
  const { managerFile } = await loadLayout();
  if (!existsSync(managerFile)) {
    throw new ComicranError('lab.state', 'the lab is not up', { hint: "Bring it up with 'comicran lab up'." });
  }
  process.stdout.write(`COMICRAN_CONFIG=${managerFile}\n`);
}

export function register(command: Command): void {
  command.addHelpText(
    'after',
    '\nThe nodes are ue, sdn, vm1 and vm2: network namespaces cr-ue, cr-sdn, cr-vm1 and cr-vm2.\n' +
      'With COMICRAN_LAB=NAME in the environment the commands here and smanager mean a lab of that name,\n' +
      'beside the others: NAME-ue and so on, /var/lib/comicran/lab-NAME, /run/comicran/NAME.\n\nExamples:\n' +
      '  comicran lab up\n' +
      '  comicran lab exec ue -- comicran client 10.70.0.1:5006 --rate 1000\n' +
      '  comicran lab exec vm1 -- ip route\n' +
      '  export $(comicran lab env)               what smanager needs; it finds a running lab without it, too\n' +
      '  comicran lab down                        leaves nothing behind, also after a crash\n',
  );
  // So that `exec` can leave what stands behind its node alone.
  command.enablePositionalOptions();
  command
    .command('up')
    .description('make the lab, or heal it')
    .addHelpText('after', '\nExample:\n  comicran lab up && comicran lab status\n')
    .action(up);
  command
    .command('down')
    .description('take everything of the lab away')
    .addHelpText('after', '\nExample:\n  comicran lab down                        also after a crash\n')
    .action(down);
  command
    .command('status')
    .description('how the lab is')
    .option('--json', 'as one line of JSON')
    .addHelpText(
      'after',
      `\nExit code: 0 when the lab is up and whole, ${NOT_UP} when it is not.\n` +
        '\nExample:\n  comicran lab status --json | jq .nodes\n',
    )
    .action(status);
  command
    .command('exec')
    .description('run a command in a node')
    .argument('<node>', 'ue, sdn, vm1 or vm2')
    .argument('<command...>', 'the command, best behind --')
    .passThroughOptions()
    .addHelpText('after', '\nExample:\n  comicran lab exec ue -- comicran client 10.70.0.1:5006 --rate 1000\n')
    .action(exec);
  command
    .command('env')
    .description('print what smanager needs, as NAME=VALUE')
    .addHelpText('after', '\nExample:\n  export $(comicran lab env)\n')
    .action(env);
}
