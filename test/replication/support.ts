/** A source, a destination and a client as network namespaces: two VMs with the same sandbox in each, and the way there. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { closeFd, inNetns } from '../../src/linux/netns.ts';
import { closeDescriptor, duplicateFrom, openPidfd } from '../../src/linux/pidfd.ts';
import { receiveOnOneCpu } from '../../src/linux/receive-cpu.ts';
import { getLink, type RouteSocket, replaceRoute } from '../../src/linux/rtnetlink/index.ts';
import type { LogEntry } from '../../src/replication/log.ts';
import type { Replay } from '../../src/replication/replay.ts';
import type { TrafficTap } from '../../src/replication/tap.ts';
import { closeSockets, openUdpSockets } from '../../src/sdaemon/dataplane/process-sockets.ts';
import { raiseReceiveBuffers } from '../../src/sdaemon/dataplane/receive-buffers.ts';
import { joinNetns, makeNetns, makeVm, SANDBOX_ADDRESS, type Undo, type Vm } from '../dataplane/support.ts';

export const PORT = 7000;

export type Host = { readonly netns: number; readonly routes: RouteSocket };
export type World = { readonly source: Vm; readonly destination: Vm; readonly client: Host };

/** The client's way to the sandbox leads to the source at first. */
export function makeWorld(undo: Undo): World {
  const client = makeNetns(undo);
  const sides = ['source', 'destination'].map((_, number) => {
    const vm = makeVm(undo, { routed: true });
    const network = `10.${number + 1}.0`;
    joinNetns(
      { ...vm, address: `${network}.1`, link: 'client' },
      { ...client, address: `${network}.2`, link: `vm${number}` },
    );
    // Answers of either go to the client's one address.
    const uplink = getLink(vm.routes, 'client').index;
    if (number > 0) vm.routes.apply(replaceRoute({ destination: '10.1.0.2', link: uplink, gateway: `${network}.2` }));
    return vm;
  });
  const world = { source: sides[0]!, destination: sides[1]!, client };
  leadTo(world, 'source');
  return world;
}

export function leadTo({ client }: World, side: 'source' | 'destination'): void {
  const number = side === 'source' ? 0 : 1;
  const link = getLink(client.routes, `vm${number}`).index;
  client.routes.apply(
    replaceRoute({ destination: SANDBOX_ADDRESS, link, gateway: `10.${number + 1}.0.1`, preferredSource: '10.1.0.2' }),
  );
}

/** Any CPU receives for the sandbox, as before there was an order to keep. */
export function receiveOnOneCpuOf(vm: Vm, cpu: number): void {
  inNetns(vm.sandbox, () => receiveOnOneCpu('eth0', cpu));
}

export type Program = {
  readonly child: ChildProcessByStdio<null, Readable, null>;
  readonly pid: number;
  readonly lines: AsyncIterator<string>;
};

/** Runs one of the programs beside this file in a network namespace, and waits for its first line: ready. */
export async function start(
  undo: Undo,
  netns: number,
  name: string,
  args: readonly (string | number)[],
): Promise<Program> {
  const path = fileURLToPath(new URL(`./${name}.ts`, import.meta.url));
  const child = inNetns(netns, () =>
    spawn(process.execPath, ['--disable-warning=ExperimentalWarning', path, ...args.map(String)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  );
  undo(() => child.kill('SIGKILL'));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const first = await lines.next();
  if (first.value !== 'ready') throw new Error(`${name} said '${first.value}'`);
  return { child, pid: child.pid!, lines };
}

/** Stops a process so that it stays stopped, and waits until it is. */
export async function stop({ pid, child }: Program): Promise<void> {
  child.kill('SIGSTOP');
  for (;;) {
    const status = readFileSync(`/proc/${pid}/stat`, 'latin1');
    if (status.slice(status.lastIndexOf(')')).startsWith(') T')) return;
    await sleep(1);
  }
}

export async function ended({ child }: Program): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

/** The program's UDP sockets, with large queues, until the test ends. */
export function socketsOf(undo: Undo, { pid }: Program) {
  raiseReceiveBuffers(pid);
  const sockets = openUdpSockets(pid);
  undo(() => closeSockets(sockets));
  return sockets;
}

/** A descriptor of this program for one of another's. */
export function borrow(undo: Undo, pid: number, descriptor: number): number {
  const pidfd = openPidfd(pid);
  const own = duplicateFrom(pidfd, descriptor);
  closeDescriptor(pidfd);
  undo(() => closeDescriptor(own));
  return own;
}

/** Moves entries from the tap to the replay until told to stop; the event loop goes on meanwhile. */
export class Pump {
  readonly #tap: TrafficTap;
  readonly #replay: Replay;
  readonly #change: (entry: LogEntry) => LogEntry | undefined;
  #running = true;
  #done: Promise<void>;

  constructor(tap: TrafficTap, replay: Replay, change: (entry: LogEntry) => LogEntry | undefined = (entry) => entry) {
    this.#tap = tap;
    this.#replay = replay;
    this.#change = change;
    this.#done = this.#run();
    this.#done.catch(() => undefined);
  }

  async #run(): Promise<void> {
    while (this.#running) {
      this.turn();
      await sleep(1);
    }
  }

  turn(): void {
    for (;;) {
      const entries = this.#tap.read(256);
      for (const entry of entries) {
        const changed = this.#change(entry);
        if (changed !== undefined) this.#replay.play(changed);
      }
      const worked = this.#replay.step();
      if (entries.length === 0 && !worked) return;
    }
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
  }
}

export async function until(what: string, condition: () => boolean, timeoutMs = 10_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await sleep(1);
  }
}

export { closeFd };
