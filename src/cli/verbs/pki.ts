import type { Command } from 'commander';
import { ComicranError } from '../../base/errors.ts';

type MakeOptions = { readonly vm?: readonly string[]; readonly validDays: number; readonly force?: boolean };

const collect = (value: string, before: readonly string[] = []): string[] => [...before, value];

function parseDays(text: string): number {
  const days = Number(text);
  if (!Number.isInteger(days) || days < 1 || days > 36_500) {
    throw new ComicranError('usage', `--valid-days is '${text}'; it is a number of days from 1 to 36500`);
  }
  return days;
}

async function init(directory: string, { vm: vms = [], ...options }: MakeOptions): Promise<void> {
  const { initPki } = await import('../../api/pki.ts');
  await initPki({ directory, vms, ...options });
  process.stdout.write(`certificates of sdn, smanager${vms.map((vm) => `, ${vm}`).join('')} are in ${directory}\n`);
}

async function addVm(directory: string, vms: readonly string[], options: Omit<MakeOptions, 'vm'>): Promise<void> {
  const { addVms } = await import('../../api/pki.ts');
  await addVms({ directory, vms, ...options });
  process.stdout.write(`certificates of ${vms.join(', ')} are in ${directory}\n`);
}

async function show(directory: string, options: { readonly json?: boolean }): Promise<void> {
  const { listCertificates } = await import('../../api/pki-list.ts');
  const certificates = listCertificates(directory);
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify(certificates, null, 2)}\n`);
    return;
  }
  const { formatTable } = await import('../../base/table.ts');
  process.stdout.write(
    formatTable(
      [
        { title: 'name', cell: ({ name }) => name },
        { title: 'state', cell: ({ state }) => state },
        { title: 'until', cell: ({ validTo }) => validTo.slice(0, 10) },
        { title: 'for', cell: ({ dnsNames }) => dnsNames.join(' ') },
      ],
      certificates,
    ),
  );
}

export function register(command: Command): void {
  command.addHelpText(
    'after',
    '\nThe operator keeps DIR. A machine needs three files of it: ca.pem, NAME.pem and NAME.key.\n' +
      '\nExample:\n  comicran pki init /etc/comicran/pki --vm vm1 --vm vm2\n',
  );
  command
    .command('init')
    .description('make an authority, and certificates for sdn, smanager and the virtual machines')
    .argument('<directory>')
    .option('--vm <name>', 'name of a virtual machine; can be repeated', collect)
    .option('--valid-days <days>', 'how long the certificates are good', parseDays, 825)
    .option('--force', 'replace an authority that is there')
    .addHelpText('after', '\nExample:\n  comicran pki init /etc/comicran/pki --vm vm1 --vm vm2\n')
    .action(init);
  command
    .command('add-vm')
    .description('make certificates for further virtual machines')
    .argument('<directory>')
    .argument('<names...>')
    .option('--valid-days <days>', 'how long the certificates are good', parseDays, 825)
    .option('--force', 'replace a certificate that is there')
    .addHelpText('after', '\nExample:\n  comicran pki add-vm /etc/comicran/pki vm3\n')
    .action(addVm);
  command
    .command('show')
    .description('list the certificates: names, validity')
    .argument('<directory>')
    .option('--json', 'as JSON')
    .addHelpText('after', '\nExample:\n  comicran pki show /etc/comicran/pki\n')
    .action(show);
}
