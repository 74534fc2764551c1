/** A fault service in a process of its own, and this program as its keeper. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { ipv4Text } from '../../../src/base/ipv4.ts';
import { closeDescriptor, getDescriptor } from '../../../src/linux/pidfd.ts';
import type { FaultServiceOptions } from '../../../src/paging/fault-service.ts';
import type { ServiceCounts } from '../../../src/paging/service-times.ts';
import type { PageServerAddress } from '../../../src/sdaemon/paging/fault-session.ts';
import { NODE } from '../../engine/support/cage.ts';
import type { Line, Order } from '../programs/fault-service.ts';
import { type LazyCopy, SLOWLY } from './lazy-move.ts';

type NodeChild = ChildProcessByStdio<Writable, Readable, null>;

/** Runs a program of this project, in a network namespace if one is named. */
export function startNode(words: readonly string[], netns: string | undefined): NodeChild {
  const command = [NODE, '--disable-warning=ExperimentalWarning', ...words];
  const [program = '', ...rest] = netns === undefined ? command : ['nsenter', `--net=/run/netns/${netns}`, ...command];
  return spawn(program, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
}

const PROGRAM = new URL('../programs/fault-service.ts', import.meta.url).pathname;

export class KeptProcess {
  /** By the name of the journal: descriptors of this program. */
  readonly kept = new Map<string, number>();
  readonly #order: Omit<Order, 'userfault' | 'missing' | 'children'>;
  readonly #copy: LazyCopy;
  readonly #netns: string | undefined;
  #began = false;

  /** @param netns the name of a network namespace for the services; undefined: this program's. */
  constructor(
    copy: LazyCopy,
    journal: string,
    server: PageServerAddress,
    service: Partial<FaultServiceOptions> = SLOWLY.service,
    netns?: string,
  ) {
    const userfault = copy.restoring.takeUserfault();
    this.kept.set(journal, userfault);
    this.#copy = copy;
    const key = Buffer.from(server.key).toString('hex');
    const address = ipv4Text(server.address);
    this.#order = { keeperPid: process.pid, journal, address, port: server.port, key, service };
    this.#netns = netns;
  }

  /**
   * Starts a service; the first one begins, each other one adopts.
   * @param confirmsChildren false: what it wants kept for a child of the process is kept, and it does not hear of that. So
   *   it stands still there until it is killed.
   */
  start({ confirmsChildren = true } = {}): KillableService {
    const { journal } = this.#order;
    const children = Array.from(this.kept, ([name, descriptor]) => ({ journal: name, descriptor })).filter(
      (child) => child.journal !== journal,
    );
    const userfault = this.kept.get(journal)!;
    const missing = this.#began ? null : this.#copy.missing;
    this.#began = true;
    const order = { ...this.#order, userfault, missing, children };
    return new KillableService(order, this.kept, this.#netns, confirmsChildren);
  }

  close(): void {
    for (const descriptor of this.kept.values()) closeDescriptor(descriptor);
    this.kept.clear();
  }
}

export class KillableService {
  readonly #process: NodeChild;
  readonly running: Promise<void>;
  readonly done: Promise<ServiceCounts>;
  readonly exited: Promise<unknown>;

  constructor(order: Order, kept: Map<string, number>, netns: string | undefined, confirmsChildren: boolean) {
    const child = startNode([PROGRAM], netns);
    this.#process = child;
    const running = Promise.withResolvers<void>();
    const done = Promise.withResolvers<ServiceCounts>();
    this.running = running.promise;
    this.done = done.promise;
    this.exited = once(child, 'exit');
    done.promise.catch(() => undefined);
    child.stdin.on('error', () => undefined);
    child.stdin.write(`${JSON.stringify(order)}\n`);
    createInterface({ input: child.stdout }).on('line', (text) => {
      const line = JSON.parse(text) as Line;
      switch (line.type) {
        case 'running':
          running.resolve();
          break;
        case 'done':
          done.resolve(line.counts);
          break;
        case 'failed':
          process.stderr.write(`${line.message}\n`);
          done.reject(new Error(line.message));
          break;
        case 'keep':
          keep(kept, line.name, child.pid!, line.descriptor);
          if (confirmsChildren || line.name === order.journal) child.stdin.write('kept\n');
          break;
        default: {
          const descriptor = kept.get(line.name);
          if (descriptor !== undefined) closeDescriptor(descriptor);
          kept.delete(line.name);
          child.stdin.write('dropped\n');
        }
      }
    });
    void this.exited.then(() => {
      running.resolve();
      done.reject(new Error('the service was killed'));
    });
  }

  /** kill -9. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.exited;
  }
}

function keep(kept: Map<string, number>, name: string, pid: number, descriptor: number): void {
  try {
    const copy = getDescriptor(pid, descriptor);
    const before = kept.get(name);
    if (before !== undefined) closeDescriptor(before);
    kept.set(name, copy);
  } catch {
    // Killed before it could be kept.
  }
}
