/**
 * Four network namespaces of their own, as in the picture of the design, gone when they are closed:
 *
 *     ue 10.77.0.2 ── 10.77.0.1 sdn 10.77.1.1 ── 10.77.1.2 vm1
 *                               sdn 10.77.2.1 ── 10.77.2.2 vm2
 *
 * A "sandbox" is an address on the loopback device of both machines: where its packets go is the route's affair alone.
 */
import { closeFd, createNetns, inNetns, setNetSysctl } from '../../src/linux/netns.ts';
import { addAddress, addVeth, getLink, RouteSocket, replaceRoute, setLink } from '../../src/linux/rtnetlink/index.ts';

export const SERVICE_ADDRESS = '10.77.0.1';
export const VM_ADDRESS = { vm1: '10.77.1.2', vm2: '10.77.2.2' } as const;

const NODES = ['ue', 'vm1', 'vm2'] as const;
type Node = (typeof NODES)[number];

export type Topology = {
  /** Descriptors of the namespaces. */
  readonly netns: Readonly<Record<Node | 'sdn', number>>;
  /** A socket in the sdn node's namespace. */
  readonly sdnRoutes: RouteSocket;
  /** Puts a sandbox's address on a machine. */
  readonly addSandboxAddress: (node: Node, address: string) => void;
  readonly close: () => void;
};

export function makeTopology(): Topology {
  const netns = { sdn: createNetns(), ue: createNetns(), vm1: createNetns(), vm2: createNetns() };
  const routeSocket = (fd: number): RouteSocket => inNetns(fd, () => new RouteSocket());
  const sdnRoutes = routeSocket(netns.sdn);
  const up = (socket: RouteSocket, name: string): void => socket.apply(setLink(name, { up: true }));
  NODES.forEach((node, subnet) => {
    using far = routeSocket(netns[node]);
    sdnRoutes.apply(addVeth({ name: node }, { name: 'eth0', netns: netns[node] }));
    sdnRoutes.apply(
      addAddress({ link: getLink(sdnRoutes, node).index, address: `10.77.${subnet}.1`, prefixLength: 24 }),
    );
    up(sdnRoutes, node);
    far.apply(addAddress({ link: getLink(far, 'eth0').index, address: `10.77.${subnet}.2`, prefixLength: 24 }));
    up(far, 'eth0');
    up(far, 'lo');
    far.apply(replaceRoute({ destination: 'default', gateway: `10.77.${subnet}.1` }));
  });
  up(sdnRoutes, 'lo');
  // Answers come from whichever machine has the route; the sdn node must not judge their way back.
  inNetns(netns.sdn, () => setNetSysctl('ipv4/conf/all/rp_filter', 0));
  return {
    netns,
    sdnRoutes,
    addSandboxAddress(node, address) {
      using socket = routeSocket(netns[node]);
      socket.apply(addAddress({ link: getLink(socket, 'lo').index, address, prefixLength: 32 }));
    },
    close() {
      sdnRoutes.close();
      for (const fd of Object.values(netns)) closeFd(fd);
    },
  };
}
