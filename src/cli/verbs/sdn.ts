import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { ComicranError } from '../../base/errors.ts';
import { needRoot } from '../root.ts';

type Options = {
  readonly listen?: string;
  readonly state?: string;
  readonly pki?: string;
  readonly serviceAddress?: string;
  readonly flushAtExit?: boolean;
};

function required(options: Options): { listen: string; state: string; pki: string; serviceAddress: string } {
  const { listen, state, pki, serviceAddress } = options;
  if (listen === undefined || state === undefined || pki === undefined || serviceAddress === undefined) {
    const given = { '--listen': listen, '--state': state, '--pki': pki, '--service-address': serviceAddress };
    const missing = Object.entries(given).flatMap(([name, value]) => (value === undefined ? [name] : []));
    throw new ComicranError('usage', `the sdn needs ${missing.join(', ')}`, {
      hint:
        'For example: comicran sdn --listen 0.0.0.0:7500 --state /var/lib/comicran/sdn --pki /etc/comicran/pki ' +
        '--service-address 10.70.0.1',
    });
  }
  return { listen, state, pki, serviceAddress };
}

const requireRoot = (): void => needRoot('the sdn sets routes and nftables, which needs root');

const log = (line: string): void => void process.stderr.write(`${new Date().toISOString()} sdn: ${line}\n`);

async function runDaemon(options: Options): Promise<void> {
  const { listen, state: stateDirectory, pki, serviceAddress } = required(options);
  requireRoot();
  const { loadIdentity } = await import('../../api/identity.ts');
  const { openKernelDataPlane } = await import('../../sdn/kernel-data-plane.ts');
  const { startSdn } = await import('../../sdn/daemon.ts');
  const identity = loadIdentity(pki, 'sdn');
  const stop = Promise.withResolvers<NodeJS.Signals>();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, stop.resolve);
  const daemon = await startSdn({
    listen,
    stateDirectory,
    identity,
    serviceAddress,
    openDataPlane: openKernelDataPlane,
    log,
  });
  log(`stops on ${await stop.promise}`);
  await daemon.close();
  if (options.flushAtExit === true) await flushKernel();
}

async function flushKernel(): Promise<void> {
  const { KernelDataPlane } = await import('../../sdn/kernel-data-plane.ts');
  const dataPlane = new KernelDataPlane();
  try {
    dataPlane.flush();
  } finally {
    dataPlane.close();
  }
  log('tables and routes removed from the kernel');
}

async function flush(_options: unknown, command: Command): Promise<void> {
  // --state is an option of `sdn` as well, which may have taken it.
  const { state } = command.optsWithGlobals<Options>();
  if (state === undefined) {
    throw new ComicranError('usage', 'flush needs --state, the state directory of the sdn that has been stopped');
  }
  // A mistyped one would take the tables and routes of an sdn that runs.
  if (!existsSync(state)) {
    throw new ComicranError('config.missing-file', `${state} does not exist; nothing was removed`, {
      hint: 'Name the --state that the sdn was started with.',
    });
  }
  requireRoot();
  const { hasRecord, openRecordStore } = await import('../../sdn/record-store.ts');
  // Held while the kernel is cleared: a running sdn would put everything back.
  const store = hasRecord(state) ? openRecordStore(state) : undefined;
  try {
    await flushKernel();
  } finally {
    store?.close();
  }
}

export function register(command: Command): void {
  command
    .option('--listen <ip:port>', 'where the daemons and smanager reach it')
    .option('--state <directory>', 'directory of the durable record')
    .option('--pki <directory>', 'directory with ca.pem, sdn.pem and sdn.key')
    .option('--service-address <ip>', 'address of this node that clients send their requests to')
    .option('--flush-at-exit', 'remove tables and routes from the kernel when it is stopped')
    .action(runDaemon)
    .addHelpText(
      'after',
      '\nStopped or killed, it leaves tables and routes in the kernel: the traffic goes on, and a new start finds\n' +
        'everything in its record. What changes is logged on stderr, a line a change.\n\nExamples:\n' +
        '  comicran sdn --listen 0.0.0.0:7500 --state /var/lib/comicran/sdn --pki /etc/comicran/pki --service-address 10.70.0.1\n' +
        '  comicran sdn flush --state /var/lib/comicran/sdn\n',
    );
  command
    .command('flush')
    .description('remove tables and routes of a stopped sdn from the kernel; its record stays')
    .option('--state <directory>', 'directory of the durable record')
    .addHelpText('after', '\nExample:\n  comicran sdn flush --state /var/lib/comicran/sdn\n')
    .action(flush);
}
