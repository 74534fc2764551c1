import { type Command, InvalidArgumentError, Option } from 'commander';
import { ComicranError } from '../../base/errors.ts';
import type { MachineCount } from '../../lab/layout.ts';
import type { MachineWords } from '../../lab/machine-settings.ts';
import { needRoot as needRootFor } from '../root.ts';

/** As systemctl says it of a unit that is not active. */
const NOT_UP = 3;

const say = (text: string): void => void process.stderr.write(text);

async function loadLayout() {
  const { presentLayout } = await import('../../lab/record.ts');
  return presentLayout();
}

const list = (word: string, before: readonly string[] = []): string[] => [...before, word];

function mebibytes(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 512) throw new InvalidArgumentError('At least 512 (MiB).');
  return value;
}

/** `--vms`, `--vms=2`, `--vms=3` */
export function vmsOption(description: string): Option {
  return new Option('--vms [number]', description).preset('2').argParser((text): MachineCount => {
    if (text === '2') return 2;
    if (text === '3') return 3;
    throw new InvalidArgumentError('2 (vm1 and vm2) or 3 (the SDN node as well).');
  });
}

/** The layout of the lab that is to be there. */
async function wantedLayout(machines: MachineCount | undefined) {
  const { labLayout, placeOf } = await import('../../lab/layout.ts');
  const { readRecord } = await import('../../lab/record.ts');
  const present = await loadLayout();
  const there = present.machines.length;
  if (machines === undefined || there === machines) return present;
  if (readRecord(present) !== undefined) {
    const what = there === 0 ? 'network namespaces for virtual machines' : `${there} virtual machines`;
    throw new ComicranError('lab.state', `the lab that is up has ${what}`, {
      hint: "Take it down first with 'comicran lab down'.",
    });
  }
  return labLayout({ ...placeOf(process.env['COMICRAN_LAB']), machines });
}

function needRoot(): void {
  if (process.platform !== 'linux') throw new ComicranError('needs.linux', 'the lab needs Linux');
  needRootFor('the lab needs root: it makes network namespaces');
}

async function up(options: MachineWords): Promise<void> {
  needRoot();
  const { labUp } = await import('../../lab/lab.ts');
  const layout = await wantedLayout(options.vms);
  const names = layout.machines.map(({ name }) => name);
  const { chooseMachines } = await import('../../lab/machine-settings.ts');
  await labUp(layout, say, () => chooseMachines(options, names, say));
  say("the lab is up; 'comicran lab status' shows it, 'comicran smanager start FULL.yaml --on vm1' starts a server\n");
}

async function attach(name: string): Promise<void> {
  needRoot();
  const { attachConsole } = await import('../../lab/console.ts');
  await attachConsole(await loadLayout(), name);
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
    '\nThe nodes are ue, sdn, vm1 and vm2: network namespaces cr-ue, cr-sdn, cr-vm1 and cr-vm2, or virtual machines\n' +
      '(docs/virtual-machines.md).\n' +
      'With COMICRAN_LAB=NAME in the environment the commands here and smanager mean a lab of that name,\n' +
      'beside the others: NAME-ue and so on, /var/lib/comicran/lab-NAME, /run/comicran/NAME.\n\nExamples:\n' +
      '  comicran lab up\n' +
      '  comicran lab up --vms                    with real virtual machines for vm1 and vm2\n' +
      '  comicran lab up --vms=3                  and for the SDN node\n' +
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
    .addOption(
      vmsOption('real virtual machines, QEMU with a stock Debian kernel: 2 (vm1 and vm2) or 3 (the SDN node, too)'),
    )
    .addOption(new Option('--accel <which>', 'how QEMU runs them').choices(['auto', 'kvm', 'tcg']).default('auto'))
    .option('--cpu <model>', 'CPU model of QEMU for all, or NAME=MODEL for one; can be repeated', list)
    .option('--memory <MiB>', 'of each virtual machine (default: 1024)', mebibytes)
    .option('--with <full.yaml>', 'put the files of a sandbox into the virtual machines; can be repeated', list)
    .option('--clock <NAME=SECONDS>', "set a virtual machine's clock ahead; can be repeated", list)
    .addHelpText(
      'after',
      '\nHow virtual machines are made is decided when the lab is; healing it keeps that.\n\nExamples:\n' +
        '  comicran lab up && comicran lab status\n  comicran lab up --vms                    takes half a minute by emulation\n' +
        '  comicran lab up --vms --cpu vm2=Nehalem  machines of different kinds\n',
    )
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
    .command('console')
    .description("a virtual machine's serial console")
    .argument('<vm>', 'vm1 or vm2; with --vms=3 sdn, too')
    .addHelpText('after', '\nExample:\n  comicran lab console vm1                 Enter for a shell, Ctrl-] to leave\n')
    .action(attach);
  command
    .command('env')
    .description('print what smanager needs, as NAME=VALUE')
    .addHelpText('after', '\nExample:\n  export $(comicran lab env)\n')
    .action(env);
}
