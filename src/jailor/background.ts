/** jailor as a program, in the background: as a daemon starts it, and leaves it running when it ends itself. */
import { closeSync, fchownSync, fstatSync } from 'node:fs';
import { ComicranError } from '../base/errors.ts';
import type { FullConfig } from '../base/sandbox-config.ts';
import { makePipe } from '../linux/pipe.ts';
import { ControlServer, checkSocketPath } from './control-server.ts';
import { idMapsOf, userOf } from './ids.ts';
import { LogWriter, logLimits } from './log-writer.ts';
import { planSandbox } from './plan.ts';
import { prepare, type RunOptions } from './run.ts';
import { Supervisor } from './supervisor.ts';

const STOP_GRACE_MS = 10_000;
/** Somebody outside the sandbox may hold the other end of a log pipe. */
const LOG_END_TIMEOUT_MS = 1_000;

/**
 * Runs a sandbox that is controlled through its socket and logs to its directory, which stays when it has ended.
 * Returns when it has exited.
 *
 * @param started is called when the root process runs, or the skeleton is ready.
 * @throws ComicranError when it could not be made; nothing of it is left then.
 */
export async function runInBackground(config: FullConfig, options: RunOptions, started: () => void): Promise<void> {
  await prepare();
  const plan = planSandbox(config, { ...options, stdio: 'log' });
  const pipes = { stdout: makePipe(), stderr: makePipe() };
  const logFds = { stdout: pipes.stdout.writeFd, stderr: pipes.stderr.writeFd };
  // So that the process can open /dev/stdout and its like, whoever it is.
  const { uid, gid } = userOf(config, idMapsOf(config));
  for (const fd of Object.values(logFds)) fchownSync(fd, uid, gid);
  const stdio = { stdout: fstatSync(logFds.stdout).ino, stderr: fstatSync(logFds.stderr).ino };
  const outputs = Promise.withResolvers<Outputs>();
  const supervisor = new Supervisor({
    ...options,
    ...{ config, plan, logFds, stdio, keepDirectory: true, restarts: true },
    onTakenDown: async () => {
      // Who has started a process that ended at once is on the way to connect, and is to hear of it.
      await server.metSomebody();
      await (await outputs.promise).close();
    },
  });
  checkSocketPath(supervisor.paths.controlSocket);
  if (options.skeleton !== undefined) await checkAddressFree(options.stateDirectory, config);
  await supervisor.claim();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => void supervisor.terminate('SIGTERM', STOP_GRACE_MS));
  }
  // Its terminal or its daemon went away, which is none of its business.
  process.on('SIGHUP', () => undefined);
  // Its log may be on a disk that is full. What it has to say is lost then, and it goes on.
  process.stderr.on('error', () => undefined);

  const server = new ControlServer(supervisor);
  const readFds = { stdout: pipes.stdout.readFd, stderr: pipes.stderr.readFd };
  // The sandbox has its own; jailor's are for what is started in it later.
  const closeLogFds = (): void => {
    for (const fd of Object.values(logFds)) closeSync(fd);
  };
  try {
    await supervisor.start(async () => {
      const log = new LogWriter(supervisor.paths.log, logLimits(config));
      outputs.resolve(openOutputs(log, readFds, server, closeLogFds));
      await server.listen();
    });
  } catch (thrown) {
    closeLogFds();
    throw thrown;
  }
  started();
  await supervisor.finished;
  await server.close();
}

/** A process that runs is refused an address that is routed already; a skeleton has no route yet. */
async function checkAddressFree(stateDirectory: string, { id, network }: FullConfig): Promise<void> {
  const { findByAddress } = await import('./clean.ts');
  const other = findByAddress(stateDirectory, network.address);
  if (other === undefined || other === id) return;
  throw new ComicranError('address.in-use', `the address ${network.address} is in use: it is sandbox ${other}'s`, {
    hint: `Terminate sandbox ${other}, or give one of them another address.`,
  });
}

/** What lies in the sandbox's directory and is open. */
type Outputs = { close(): Promise<void> };

function openOutputs(
  log: LogWriter,
  readFds: { stdout: number; stderr: number },
  server: ControlServer,
  closeLogFds: () => void,
): Outputs {
  const followed = [log.follow('stdout', readFds.stdout), log.follow('stderr', readFds.stderr)];
  return {
    close: async () => {
      server.stopListening();
      // What comes out ends when the last who could write has closed it.
      closeLogFds();
      const timer = setTimeout(() => {
        for (const { stop } of followed) stop();
      }, LOG_END_TIMEOUT_MS);
      await Promise.all(followed.map(({ ended }) => ended));
      clearTimeout(timer);
      log.close();
    },
  };
}
