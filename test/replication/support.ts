/** A source, a destination and a client as network namespaces: two VMs with the same sandbox in each, and the way there. */
import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ipv4Bytes } from '../../src/base/ipv4.ts';
import { addToSum, foldSum } from '../../src/base/packets/checksum.ts';
import { decodeDatagram, decodePacket } from '../../src/base/packets/decode.ts';
import { encodePackets } from '../../src/base/packets/encode.ts';
import { ETHER_TYPE, encodeFrame } from '../../src/base/packets/ethernet.ts';
import type { InputEntry, LogEntry } from '../../src/base/traffic-log.ts';
import { KernelError } from '../../src/linux/errno.ts';
import { writeAll } from '../../src/linux/file-descriptors.ts';
import { beginStamping } from '../../src/linux/kernel-stamp.ts';
import { syscall } from '../../src/linux/libc.ts';
import { inNetns } from '../../src/linux/netns.ts';
import { O } from '../../src/linux/open-flags.ts';
import { FrameSender } from '../../src/linux/packet-socket.ts';
import { closeDescriptor } from '../../src/linux/pidfd.ts';
import { QueueHeads } from '../../src/linux/queue-head.ts';
import { getLink, macBytes, type RouteSocket, replaceRoute } from '../../src/linux/rtnetlink/index.ts';
import { forceReceiveLimit } from '../../src/linux/socket-memory.ts';
import { DatagramReceiver } from '../../src/linux/socket-message.ts';
import {
  AF_INET,
  AF_INET6,
  bindSocket,
  connectSocket,
  encodeInetAddress,
  IPPROTO_UDP,
  SOCK_DGRAM,
} from '../../src/linux/sockets.ts';
import { SYS } from '../../src/linux/syscall-numbers.ts';
import { openUdpToSelf } from '../../src/linux/udp.ts';
import type { Replay } from '../../src/replication/replay.ts';
import type { TrafficTap } from '../../src/replication/tap.ts';
import { closeSockets, openUdpSockets } from '../../src/sdaemon/dataplane/process-sockets.ts';
import { raiseReceiveBuffers } from '../../src/sdaemon/dataplane/receive-buffers.ts';
import {
  joinNetns,
  LINK_NAME,
  makeNetns,
  makeVm,
  SANDBOX_ADDRESS,
  SANDBOX_MAC,
  type Undo,
  type Vm,
} from '../dataplane/support.ts';

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

/** Sends `NAME/0`, `NAME/1`… in bursts, from one CPU. By default to the sandbox, some 50,000 a second. */
export function startSender(
  undo: Undo,
  netns: number,
  name: number,
  count: number,
  { host = SANDBOX_ADDRESS, port = PORT, burst = 500, pauseMs = 5 } = {},
): { readonly ended: Promise<void> } {
  const program = `
import os, socket, sys, time
name, host, port, count, burst, pause = int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:7])
cpus = sorted(os.sched_getaffinity(0))
os.sched_setaffinity(0, {cpus[name % len(cpus)]})
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((host, port))
for n in range(count):
    s.send(b'%d/%d' % (name, n))
    if n % burst == burst - 1: time.sleep(pause / 1000)
`;
  const child = inNetns(netns, () =>
    spawn('python3', ['-c', program, name, host, port, count, burst, pauseMs].map(String), { stdio: 'inherit' }),
  );
  undo(() => child.kill('SIGKILL'));
  return { ended: once(child, 'exit').then(() => undefined) };
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

export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 30_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await sleep(1);
  }
}

/**
 * Has the kernel stamp what it receives, and waits until it does: it begins some time after it has been asked to, and the
 * stamps of what comes before that are made when somebody reads it.
 * @returns ends it
 */
export async function stamping(): Promise<() => void> {
  const asking = beginStamping();
  const socket = openUdpToSelf();
  const heads = new QueueHeads();
  const own = new DatagramReceiver();
  try {
    await until('what comes is stamped when it comes', async () => {
      writeAll(socket, Buffer.from('?'));
      await sleep(5);
      const sinceThen = ((Date.now() / 1000) % 2 ** 22) * 1e9;
      await sleep(5);
      const head = heads.look(socket);
      own.take(socket);
      return typeof head === 'object' && head.stamp < sinceThen;
    });
  } finally {
    closeDescriptor(socket);
  }
  return () => closeDescriptor(asking);
}

/** A process in a namespace that does nothing; its PID. */
export function occupy(undo: Undo, netns: number): number {
  const child = inNetns(netns, () => spawn('sleep', ['infinity'], { stdio: 'ignore' }));
  undo(() => child.kill('SIGKILL'));
  return child.pid!;
}

export type OwnSocket = {
  readonly descriptor: number;
  readonly inode: string;
  readonly take: () => Buffer | undefined;
};

/** A UDP socket of this program in a namespace: it reads when the test says so, and stands still else. */
export function openSocket(
  undo: Undo,
  netns: number,
  {
    port,
    address,
    remote,
    dualStack,
  }: { port: number; address?: string; remote?: { address: string; port: number }; dualStack?: boolean },
): OwnSocket {
  const raw = (text: string, number: number): Buffer =>
    encodeInetAddress({ address: ipv4Bytes(text), port: number, flowInfo: 0, scopeId: 0 });
  const domain = dualStack === true ? AF_INET6 : AF_INET;
  const descriptor = inNetns(netns, () => {
    const socket = syscall('socket(UDP)', SYS.socket, domain, SOCK_DGRAM | O.CLOEXEC | O.NONBLOCK, IPPROTO_UDP);
    const any6 = { address: Buffer.alloc(16), port, flowInfo: 0, scopeId: 0 };
    bindSocket(socket, dualStack === true ? encodeInetAddress(any6) : raw(address ?? '0.0.0.0', port));
    if (remote !== undefined) connectSocket(socket, raw(remote.address, remote.port));
    return socket;
  });
  undo(() => closeDescriptor(descriptor));
  forceReceiveLimit(descriptor, 32 << 20);
  const receiver = new DatagramReceiver();
  const take = (): Buffer | undefined => {
    const received = receiver.take(descriptor);
    if (received === undefined) return undefined;
    if (typeof received === 'number') throw new KernelError('receive', received);
    return Buffer.from(received.payload);
  };
  return { descriptor, inode: `own ${descriptor}`, take };
}

/** Puts UDP datagrams into a sandbox as if they had come from the network. */
export function injectorInto(undo: Undo, vm: Vm) {
  const { index, mac } = getLink(vm.routes, LINK_NAME);
  const sender = inNetns(vm.netns, () => new FrameSender(index, { bypass: true }));
  undo(() => sender.close());
  let id = 0;
  const send = (packet: Uint8Array): void =>
    assert.ok(sender.trySend(encodeFrame(macBytes(SANDBOX_MAC), macBytes(mac), ETHER_TYPE.IPV4, packet)));
  const inject = (payload: Uint8Array, { from = 9, to = PORT, source = '192.0.2.7' } = {}): void => {
    const datagram = {
      sourceAddress: ipv4Bytes(source),
      sourcePort: from,
      destinationAddress: ipv4Bytes(SANDBOX_ADDRESS),
      destinationPort: to,
      payload,
    };
    for (const packet of encodePackets(datagram, 1500, id++)) send(packet);
  };
  return { inject, send };
}

/** What a host says that has nobody at the port that the sandbox's `localPort` has sent to. */
export function portUnreachable(localPort: number, remote: { address: string; port: number }): Buffer {
  const [own, other] = [ipv4Bytes(SANDBOX_ADDRESS), ipv4Bytes(remote.address)];
  const told = { sourceAddress: own, sourcePort: localPort, destinationAddress: other, destinationPort: remote.port };
  const inner = encodePackets({ ...told, payload: Buffer.from('what was sent') }, 1500, 1)[0]!;
  // A header of the right length and addresses, of another protocol; then the ICMP message (RFC 792).
  const outer = { sourceAddress: other, sourcePort: 0, destinationAddress: own, destinationPort: 0, payload: inner };
  const header = encodePackets(outer, 1500, 1)[0]!.subarray(0, 20);
  header[9] = 1;
  header.writeUInt16BE(0, 10);
  header.writeUInt16BE(foldSum(addToSum(0, header)), 10);
  const message = Buffer.concat([Buffer.from([3, 3, 0, 0, 0, 0, 0, 0]), inner]);
  message.writeUInt16BE(foldSum(addToSum(0, message)), 2);
  return Buffer.concat([header, message]);
}

export function payloadOf({ frames }: InputEntry): string {
  const parts = frames.map((frame) => decodePacket(Buffer.from(frame))!).toSorted((a, b) => a.offset - b.offset);
  return Buffer.from(decodeDatagram(parts)!.payload).toString('latin1');
}

export const inputsOf = (entries: readonly LogEntry[]): InputEntry[] =>
  entries.filter(({ kind }) => kind === 'input') as InputEntry[];
