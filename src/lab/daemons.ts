/** Starting the lab's daemons and knowing how they are. */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ComicranError } from '../base/errors.ts';
import { inNetnsOf } from '../linux/netns.ts';
import { identifyProcess, isAlive, type ProcessIdentity } from '../linux/process-identity.ts';
import { type LabDaemon, type LabLayout, pathWithComicran } from './layout.ts';
import { commandOf, endProcesses, processesInNamespaces } from './processes.ts';

const READY_MS = 20_000;
const POLL_MS = 40;
const TAIL_LINES = 15;
const ORPHAN_GRACE_MS = 2000;

/** `vm1's sdaemon`. */
export const nameOf = (daemon: LabDaemon): string =>
  daemon.node === daemon.program ? daemon.program : `${daemon.program} of ${daemon.node}`;

const netnsOf = (layout: LabLayout, daemon: LabDaemon): string =>
  layout.nodes.find(({ name }) => name === daemon.node)!.netns;

/** A copy of the daemon that nobody has recorded, because who started it died at once: it would hold the port. */
function orphansOf(layout: LabLayout, daemon: LabDaemon): ProcessIdentity[] {
  const tail = daemon.command.slice(1).join('\0');
  return processesInNamespaces([netnsOf(layout, daemon)]).filter(({ pid }) =>
    commandOf(pid).join('\0').endsWith(`\0${tail}`),
  );
}

/**
 * Starts a daemon in its node. It outlives this process, and its output goes to its log file.
 *
 * @returns who it is, at once: {@link waitUntilReady} tells when it answers.
 */
export async function startDaemon(layout: LabLayout, daemon: LabDaemon): Promise<ProcessIdentity> {
  await endProcesses(orphansOf(layout, daemon), ORPHAN_GRACE_MS);
  const identity = await startInNode(netnsOf(layout, daemon), daemon.command, daemon.log);
  if (identity === undefined) throw failedToStart(daemon, 'it ended at once');
  return identity;
}

/** Starts a program in a network namespace. @returns undefined where it ended at once. @throws Error where it is missing */
export async function startInNode(
  netns: string,
  command: readonly string[],
  logFile: string,
): Promise<ProcessIdentity | undefined> {
  mkdirSync(dirname(logFile), { recursive: true });
  const log = openSync(logFile, 'a', 0o600);
  try {
    const [executable, ...words] = command;
    const child = inNetnsOf({ name: netns }, () =>
      spawn(executable!, words, {
        detached: true,
        stdio: ['ignore', log, log],
        cwd: '/',
        env: { ...process.env, PATH: pathWithComicran(process.env['PATH']) },
      }),
    );
    // Where it could not be started there is no PID, and the reason comes as an event.
    const failure = new Promise<never>((_, reject) => child.once('error', reject));
    if (child.pid === undefined) return await failure;
    failure.catch(() => undefined);
    child.unref();
    return identifyProcess(child.pid);
  } finally {
    closeSync(log);
  }
}

/** The last lines of a log. */
export function logTail(file: string, lines = TAIL_LINES): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '';
  }
}

function failedToStart(daemon: LabDaemon, how: string): ComicranError {
  const tail = logTail(daemon.log);
  const said =
    tail === '' ? 'It wrote nothing to its log.' : `The end of ${daemon.log}:\n${tail.replace(/^/gm, '    ')}`;
  return new ComicranError('lab.state', `the ${nameOf(daemon)} did not start: ${how}`, { hint: said });
}

/** `sl local_address rem_address st queues timer retransmits uid timeout inode …`; state 0A is LISTEN (include/net/tcp_states.h). */
const LISTENING = /^\s*\d+: [0-9A-F]{8}:([0-9A-F]{4}) \S+ 0A (?:\S+ +){5}(\d+) /;

/**
 * Whether the process listens at the daemon's port. That somebody does is not enough: one that has been killed does so
 * until the last of its threads has ended.
 */
export function isListening(daemon: LabDaemon, { pid }: ProcessIdentity): boolean {
  try {
    const sockets = readFileSync(`/proc/${pid}/net/tcp`, 'latin1')
      .split('\n')
      .flatMap((line) => {
        const [, port = '', inode] = LISTENING.exec(line) ?? [];
        return Number.parseInt(port, 16) === daemon.endpoint.port ? [`socket:[${inode}]`] : [];
      });
    if (sockets.length === 0) return false;
    return readdirSync(`/proc/${pid}/fd`).some((descriptor) => sockets.includes(linkOf(pid, descriptor)));
  } catch {
    return false; // it has ended
  }
}

/** Empty: it has been closed meanwhile. */
function linkOf(pid: number, descriptor: string): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${descriptor}`);
  } catch {
    return '';
  }
}

/** @throws ComicranError lab.state with the end of its log, where it ends or does not listen in time. */
export async function waitUntilReady(daemon: LabDaemon, identity: ProcessIdentity): Promise<void> {
  const deadline = performance.now() + READY_MS;
  while (!isListening(daemon, identity)) {
    if (!isAlive(identity)) throw failedToStart(daemon, 'it ended');
    if (performance.now() > deadline) {
      const { address, port } = daemon.endpoint;
      throw failedToStart(daemon, `nothing listens at ${address}:${port} after ${READY_MS / 1000} s`);
    }
    await sleep(POLL_MS);
  }
}
