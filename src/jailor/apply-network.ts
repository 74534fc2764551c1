/** The network of a sandbox under construction. jailor's thread is in the VM's network namespace. */
import { defined, unreachable } from '../base/assert.ts';
import { ComicranError } from '../base/errors.ts';
import { addOpenHold } from '../linux/egress-hold.ts';
import { EEXIST, ENODEV, ENOENT, KernelError } from '../linux/errno.ts';
import { switchOffloadsOff } from '../linux/ethtool.ts';
import { inNetns, setNetSysctl } from '../linux/netns.ts';
import { receiveOnOneCpu } from '../linux/receive-cpu.ts';
import {
  addAddress,
  addRoute,
  addVeth,
  deleteLink,
  getLink,
  lookUpRoute,
  type RouteSocket,
  replacePermanentNeighbour,
  setLink,
} from '../linux/rtnetlink/index.ts';
import type { Construction } from './construction.ts';
import type { Operation, Side } from './operations.ts';

type NetworkOperation = Extract<
  Operation,
  {
    kind:
      | 'make-link'
      | 'set-sysctl'
      | 'switch-offloads-off'
      | 'receive-on-one-cpu'
      | 'add-hold'
      | 'set-up'
      | 'add-address'
      | 'add-neighbour'
      | 'add-route';
  }
>;

export function applyNetworkOperation(construction: Construction, operation: NetworkOperation): void {
  switch (operation.kind) {
    case 'make-link':
      makeSandboxLink(construction, operation);
      break;
    case 'set-sysctl':
      on(construction, operation.side, () => setSysctl(operation.key, operation.value));
      break;
    case 'switch-offloads-off':
      on(construction, operation.side, () => switchOffloadsOff(operation.link));
      break;
    case 'receive-on-one-cpu':
      on(construction, operation.side, () => steer(operation.link, operation.seed));
      break;
    case 'add-hold':
      addHold(construction.socket(operation.side), operation.link);
      break;
    case 'set-up':
      construction.socket(operation.side).apply(setLink(operation.link, { up: true }));
      break;
    case 'add-address': {
      const socket = construction.socket(operation.side);
      const link = getLink(socket, operation.link).index;
      socket.apply(addAddress({ link, address: operation.address, prefixLength: 32 }));
      break;
    }
    case 'add-neighbour': {
      const socket = construction.socket(operation.side);
      const link = getLink(socket, operation.link).index;
      socket.apply(replacePermanentNeighbour({ link, address: operation.address, mac: operation.mac }));
      break;
    }
    case 'add-route':
      addSandboxRoute(construction.socket(operation.side), operation);
      break;
    default:
      unreachable(operation);
  }
}

function makeSandboxLink(
  construction: Construction,
  { outside, inside }: Extract<Operation, { kind: 'make-link' }>,
): void {
  const { netnsFd, sockets } = defined(construction.network, 'the network namespace');
  sockets.vm.apply(addVeth(outside, { ...inside, netns: netnsFd }));
  construction.cleanup.defer(`delete link ${outside.name}`, () => {
    sockets.vm.applyUnless(deleteLink(outside.name), ENODEV);
  });
}

function on(construction: Construction, side: Side, run: () => void): void {
  if (side === 'vm') run();
  else inNetns(defined(construction.network, 'the network namespace').netnsFd, run);
}

function setSysctl(key: string, value: string): void {
  try {
    setNetSysctl(key, value);
  } catch (thrown) {
    // A kernel without IPv6 has nothing to switch off.
    if (!key.startsWith('ipv6/') || (thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
  }
}

function steer(link: string, seed: number): void {
  try {
    receiveOnOneCpu(link, seed);
  } catch (thrown) {
    // A kernel that cannot steer runs sandboxes all the same; to replicate one is refused there.
    if (!(thrown instanceof KernelError) || thrown.errno !== ENOENT) throw thrown;
  }
}

function addHold(socket: RouteSocket, link: string): void {
  try {
    addOpenHold(socket, getLink(socket, link).index);
  } catch (thrown) {
    // A kernel without token buckets runs sandboxes all the same; to replicate one is refused there.
    if (!(thrown instanceof KernelError) || thrown.errno !== ENOENT) throw thrown;
  }
}

function addSandboxRoute(socket: RouteSocket, operation: Extract<Operation, { kind: 'add-route' }>): void {
  const { side, destination, gateway } = operation;
  const link = getLink(socket, operation.link).index;
  if (side === 'vm' && isOwnAddress(socket, destination))
    throw addressInUse(destination, 'it is an address of this VM');
  try {
    socket.apply(addRoute({ destination, link, ...(gateway === undefined ? {} : { gateway, onLink: true }) }));
  } catch (thrown) {
    if (side !== 'vm' || !(thrown instanceof KernelError) || thrown.errno !== EEXIST) throw thrown;
    throw addressInUse(destination, 'this VM has a route to it already', thrown);
  }
}

function isOwnAddress(socket: RouteSocket, address: string): boolean {
  try {
    return lookUpRoute(socket, address).type === 'local';
  } catch (thrown) {
    if (thrown instanceof KernelError) return false; // no route: nobody's
    throw thrown;
  }
}

function addressInUse(address: string, why: string, cause?: unknown): ComicranError {
  return new ComicranError('address.in-use', `the address ${address} is in use: ${why}`, {
    hint: "Give the sandbox an address of its own, or end the one that has it ('ip route get' shows its link).",
    cause,
  });
}
