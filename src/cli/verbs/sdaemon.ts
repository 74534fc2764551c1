import { type Command, InvalidArgumentError } from 'commander';
import { needRoot } from '../root.ts';

type Options = {
  name?: string;
  address?: string;
  listen: string;
  state: string;
  pki?: string;
  sdn?: string;
  patience: number;
};

function factor(text: string): number {
  const value = Number(text);
  if (!(value >= 1 && value <= 100)) throw new InvalidArgumentError('A factor is from 1 to 100.');
  return value;
}

export function register(command: Command): void {
  command
    .option('--name <vm>', 'name of this virtual machine')
    .option('--address <ip>', 'its IPv4 address, as the other nodes reach it')
    .option('--listen <ip:port>', 'where commands are taken', '0.0.0.0:7400')
    .option('--state <dir>', 'state directory', '/var/lib/comicran')
    .option('--pki <dir>', "directory with ca.pem and this machine's certificate and key")
    .option('--sdn <ip:port>', 'where the sdn listens')
    .option('--patience <factor>', 'wait so many times as long for other machines; for slow ones', factor, 1)
    .addHelpText(
      'after',
      '\nExample:\n  comicran sdaemon --name vm1 --address 10.71.1.2 --sdn 10.71.1.1:7500 --pki /etc/comicran/pki\n' +
        '\nIts sandboxes outlive it: a daemon that is started again finds them.\n',
    )
    .action(async (options: Options) => {
      const { checkOptions } = await import('../../sdaemon/options.ts');
      const { parseFaultSource } = await import('../../sdaemon/migration/faults.ts');
      const fault = process.env['COMICRAN_FAULT'];
      const checked = checkOptions({ ...options, ...(fault ? { fault: parseFaultSource(fault) } : {}) });
      needRoot('sdaemon makes sandboxes and moves processes, which needs root');
      const { startDaemon } = await import('../../sdaemon/daemon.ts');
      const { stderrLog } = await import('../../sdaemon/log.ts');
      const daemon = await startDaemon(
        checked,
        stderrLog(() => new Date()),
      );
      const stop = (): void => void daemon.close().then(() => process.exit(0));
      process.once('SIGTERM', stop);
      process.once('SIGINT', stop);
    });
}
