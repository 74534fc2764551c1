import type { Command } from 'commander';
import { ComicranError } from '../../base/errors.ts';

const say = (text: string): void => void process.stderr.write(text);

async function loadLayout() {
  const { labLayout } = await import('../../lab/layout.ts');
  return labLayout();
}

function needRoot(): void {
  if (process.platform !== 'linux') throw new ComicranError('needs.linux', 'the lab needs Linux');
  if (process.getuid?.() === 0) return;
  throw new ComicranError('needs.root', 'the lab needs root: it makes network namespaces', {
    hint: 'Run the same command as root, for example with sudo.',
  });
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
    '\nThe nodes are ue, sdn, vm1 and vm2: network namespaces cr-ue, cr-sdn, cr-vm1 and cr-vm2.\n\nExamples:\n' +
      '  comicran lab up\n' +
      '  comicran lab exec ue -- comicran client 10.70.0.1:5006 --rate 1000\n' +
      '  comicran lab exec vm1 -- ip route\n' +
      '  export $(comicran lab env)               what smanager needs; it finds a running lab without it, too\n' +
      '  comicran lab down                        leaves nothing behind, also after a crash\n',
  );
  // So that `exec` can leave what stands behind its node alone.
  command.enablePositionalOptions();
  command.command('up').description('make the lab, or heal it').action(up);
  command.command('down').description('take everything of the lab away').action(down);
  command.command('status').description('how the lab is').option('--json', 'as one line of JSON').action(status);
  command
    .command('exec')
    .description('run a command in a node')
    .argument('<node>', 'ue, sdn, vm1 or vm2')
    .argument('<command...>', 'the command, best behind --')
    .passThroughOptions()
    .action(exec);
  command.command('env').description('print what smanager needs, as NAME=VALUE').action(env);
}
