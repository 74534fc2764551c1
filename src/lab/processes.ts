/** Finding and ending the processes of the lab. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { netnsPath } from '../linux/netns.ts';
import { hasThreads, identifyProcess, isAlive, type ProcessIdentity, parentPid } from '../linux/process-identity.ts';

const POLL_MS = 20;
/** From SIGKILL until it is gone; more means that the kernel has it in a wait that nothing ends. */
const KILL_MS = 3000;

/** Which namespace a path leads to; undefined where it leads nowhere or to none. */
function namespaceInode(path: string): number | undefined {
  try {
    return statSync(path).ino;
  } catch {
    return undefined;
  }
}

/** This process and those that it comes from: a lab may be taken down from a shell inside it. */
function ownLine(): Set<number> {
  const line = new Set<number>();
  for (let pid: number | undefined = process.pid; pid !== undefined && pid > 0; pid = parentPid(pid)) line.add(pid);
  return line;
}

function allPids(): number[] {
  return readdirSync('/proc').flatMap((name) => (/^[0-9]+$/.test(name) ? [Number(name)] : []));
}

/** The processes whose main thread is in one of these named network namespaces, but for this one and its ancestors. */
export function processesInNamespaces(names: readonly string[]): ProcessIdentity[] {
  const inodes = new Set(names.map((name) => namespaceInode(netnsPath({ name }))));
  const own = namespaceInode('/proc/1/ns/net');
  const mine = ownLine();
  return allPids().flatMap((pid) => {
    const inode = namespaceInode(netnsPath({ pid }));
    // The machine's own namespace is never the lab's, whatever a name in /run/netns is made to say.
    if (inode === undefined || inode === own || !inodes.has(inode) || mine.has(pid)) return [];
    return identifyProcess(pid) ?? [];
  });
}

export function commandOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  } catch {
    return [];
  }
}

function signalAll(processes: readonly ProcessIdentity[], signal: NodeJS.Signals): void {
  for (const process_ of processes) {
    if (!isAlive(process_)) continue;
    try {
      process.kill(process_.pid, signal);
    } catch {
      // Ended between the two lines above.
    }
  }
}

/**
 * Until their last threads have ended: so long they have their sockets and files, though they look like zombies.
 * @returns those that are there after that time
 */
export async function waitUntilGone(
  processes: readonly ProcessIdentity[],
  timeoutMs: number,
): Promise<ProcessIdentity[]> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const left = processes.filter(hasThreads);
    if (left.length === 0 || performance.now() > deadline) return left;
    await sleep(POLL_MS);
  }
}

/** SIGTERM, and SIGKILL for those that are still there after `graceMs`. @returns those that even survived that. */
export async function endProcesses(processes: readonly ProcessIdentity[], graceMs: number): Promise<ProcessIdentity[]> {
  signalAll(processes, 'SIGTERM');
  const stubborn = await waitUntilGone(processes, graceMs);
  // A stopped process does not act on SIGTERM, but SIGKILL needs no SIGCONT.
  signalAll(stubborn, 'SIGKILL');
  return await waitUntilGone(stubborn, KILL_MS);
}
