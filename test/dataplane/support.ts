/** A VM and a sandbox as two network namespaces with a link between them, as jailor makes it. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { addOpenHold } from '../../src/linux/egress-hold.ts';
import { switchOffloadsOff } from '../../src/linux/ethtool.ts';
import { closeFd, createNetns, inNetns, setNetSysctl } from '../../src/linux/netns.ts';
import { receiveBacklogs } from '../../src/linux/receive-backlogs.ts';
import { receiveOnOneCpu } from '../../src/linux/receive-cpu.ts';
import {
  addAddress,
  addVeth,
  getLink,
  RouteSocket,
  replacePermanentNeighbour,
  replaceRoute,
  setLink,
} from '../../src/linux/rtnetlink/index.ts';
import { receiveMemory } from '../../src/linux/socket-memory.ts';
import { closeSockets, openUdpSockets } from '../../src/sdaemon/dataplane/process-sockets.ts';

export const SANDBOX_ADDRESS = '10.88.0.5';
export const SANDBOX_MAC = '02:00:0a:58:00:05';
export const GATEWAY_ADDRESS = '169.254.1.1';
const GATEWAY_MAC = '02:00:a9:fe:01:01';
export const LINK_NAME = 'cr-test0000';

/** Things to be undone, last first. */
export type Undo = (step: () => void) => void;

/** @returns the descriptor of a new network namespace whose loopback is up, and a socket that works on it. */
export function makeNetns(undo: Undo): { readonly netns: number; readonly routes: RouteSocket } {
  const netns = createNetns();
  undo(() => closeFd(netns));
  const routes = inNetns(netns, () => new RouteSocket());
  undo(() => routes.close());
  routes.apply(setLink('lo', { up: true }));
  inNetns(netns, () => {
    for (const scope of ['all', 'default']) setNetSysctl(`ipv4/conf/${scope}/rp_filter`, 0);
    setNetSysctl('ipv4/ip_forward', 1);
  });
  return { netns, routes };
}

export type Vm = { readonly netns: number; readonly routes: RouteSocket; readonly sandbox: number };

/** @param routed packets for the sandbox are led there from the beginning. */
export function makeVm(undo: Undo, { routed }: { readonly routed: boolean }): Vm {
  const { netns, routes } = makeNetns(undo);
  const inside = makeNetns(undo);
  routes.apply(addVeth({ name: LINK_NAME, mac: GATEWAY_MAC }, { name: 'eth0', mac: SANDBOX_MAC, netns: inside.netns }));
  for (const [where, link] of [
    [netns, LINK_NAME],
    [inside.netns, 'eth0'],
  ] as const)
    inNetns(where, () => {
      setNetSysctl(`ipv6/conf/${link}/disable_ipv6`, 1);
      switchOffloadsOff(link);
    });
  inNetns(inside.netns, () => {
    for (const link of ['eth0', 'lo']) receiveOnOneCpu(link, 0);
  });
  addOpenHold(inside.routes, getLink(inside.routes, 'eth0').index);
  inside.routes.apply(setLink('eth0', { up: true }));
  routes.apply(setLink(LINK_NAME, { up: true }));
  const near = getLink(routes, LINK_NAME).index;
  const far = getLink(inside.routes, 'eth0').index;
  inside.routes.applyAll([
    addAddress({ link: far, address: SANDBOX_ADDRESS, prefixLength: 32 }),
    replacePermanentNeighbour({ link: far, address: GATEWAY_ADDRESS, mac: GATEWAY_MAC }),
    replaceRoute({ destination: 'default', link: far, gateway: GATEWAY_ADDRESS, onLink: true }),
  ]);
  routes.apply(replacePermanentNeighbour({ link: near, address: SANDBOX_ADDRESS, mac: SANDBOX_MAC }));
  if (routed) routes.apply(replaceRoute({ destination: SANDBOX_ADDRESS, link: near }));
  return { netns, routes, sandbox: inside.netns };
}

/** Looks at the backlogs that find nothing in them: a packet that is being dealt with is in none of them. */
const EMPTY_LOOKS = 3;
const LOOK_MS = 2;
/** Others' traffic may keep a backlog full for ever. */
const PATIENCE_MS = 20_000;

/**
 * Until the packets that have been sent over links of this machine have come where they go: the CPU that receives them may
 * stand still for as long as the machine likes.
 */
export async function delivered(): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  for (let looks = 0; looks < EMPTY_LOOKS && performance.now() < deadline; looks++) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    if (Math.max(...receiveBacklogs()) > 0) looks = -1;
  }
}

/** Until a process has read what has been sent to its UDP sockets. */
export async function hasRead(pid: number): Promise<void> {
  await delivered();
  const sockets = openUdpSockets(pid);
  try {
    while (sockets.some(({ descriptor }) => receiveMemory(descriptor).usedBytes > 0))
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  } finally {
    closeSockets(sockets);
  }
}

export type Program = ChildProcessByStdio<null, Readable, null>;

/** Starts one of the programs beside this file in a network namespace, and waits for its first line. */
export async function startProgram(
  undo: Undo,
  netns: number,
  name: string,
  args: readonly string[],
): Promise<{ readonly child: Program; readonly lines: AsyncIterator<string>; readonly pid: number }> {
  const path = fileURLToPath(new URL(`./${name}.ts`, import.meta.url));
  const child = inNetns(netns, () =>
    spawn(process.execPath, ['--disable-warning=ExperimentalWarning', path, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  );
  undo(() => child.kill('SIGKILL'));
  const { createInterface } = await import('node:readline');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const first = await lines.next();
  if (first.value !== 'ready') throw new Error(`${name} said '${first.value}'`);
  return { child, lines, pid: child.pid! };
}

export async function ended(child: Program): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

/** A link between a VM and a client, and the client's way to the sandbox. */
export function joinClient(vm: Vm, client: { readonly netns: number; readonly routes: RouteSocket }): void {
  joinNetns({ ...vm, address: '10.1.0.1', link: 'client' }, { ...client, address: '10.1.0.2', link: 'uplink' });
  const link = getLink(client.routes, 'uplink').index;
  client.routes.apply(replaceRoute({ destination: 'default', link, gateway: '10.1.0.1' }));
}

type JoinedEnd = {
  readonly netns: number;
  readonly routes: RouteSocket;
  readonly address: string;
  readonly link: string;
};

/**
 * A link between two namespaces, an address of one /24 on each end. It keeps the order of packets, as a wire does: on a veth
 * they would swap where their sender moves to another CPU.
 */
export function joinNetns(one: JoinedEnd, other: JoinedEnd): void {
  one.routes.apply(addVeth({ name: one.link }, { name: other.link, netns: other.netns }));
  const macs = [one, other].map(({ routes, link }) => getLink(routes, link).mac);
  [one, other].forEach(({ netns, routes, address, link }, end) => {
    inNetns(netns, () => receiveOnOneCpu(link, 0));
    routes.apply(setLink(link, { up: true }));
    const index = getLink(routes, link).index;
    routes.apply(addAddress({ link: index, address, prefixLength: 24 }));
    // What waits for the answer to a question for an address is overtaken by what comes after the answer.
    routes.apply(replacePermanentNeighbour({ link: index, address: [other, one][end]!.address, mac: macs[1 - end]! }));
  });
}
