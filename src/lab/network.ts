/** The lab's network namespaces and the links between them. */
import { existsSync } from 'node:fs';
import { ENODEV, KernelError } from '../linux/errno.ts';
import {
  addNamedNetns,
  closeFd,
  deleteNamedNetns,
  inNetnsOf,
  listNamedNetns,
  openNetns,
  setNetSysctl,
} from '../linux/netns.ts';
import {
  addAddress,
  addBridge,
  addVeth,
  deleteLink,
  findLink,
  getLink,
  listAddresses,
  RouteSocket,
  replaceRoute,
  setLink,
} from '../linux/rtnetlink/index.ts';
import { addTap } from '../linux/tun.ts';
import type { HubEnd, LabBridge, LabLayout, LabLink, LabNode, LabPort } from './layout.ts';

function setUpNode(node: LabNode): void {
  addNamedNetns(node.netns);
  inNetnsOf({ name: node.netns }, () => {
    // Before there are links: the defaults are what a new link starts with.
    for (const scope of ['all', 'default']) {
      setNetSysctl(`ipv4/conf/${scope}/rp_filter`, 0);
      if (existsSync('/proc/sys/net/ipv6')) setNetSysctl(`ipv6/conf/${scope}/disable_ipv6`, 1);
    }
    setNetSysctl('ipv4/ip_forward', node.forwards ? 1 : 0);
    using socket = new RouteSocket();
    socket.apply(setLink('lo', { up: true }));
  });
}

function netnsOf(layout: LabLayout, node: string): string {
  return layout.nodes.find(({ name }) => name === node)!.netns;
}

function setUpLink(layout: LabLayout, link: LabLink): void {
  const { near, far, gateway, prefixLength } = link;
  const farNetns = { name: netnsOf(layout, link.node) };
  const fd = openNetns(farNetns);
  try {
    inNetnsOf({ name: layout.hub }, () => {
      using socket = new RouteSocket();
      socket.apply(addVeth({ name: near.link }, { name: far.link, netns: fd }));
      setUpHubEnd(socket, near, prefixLength);
    });
    inNetnsOf(farNetns, () => {
      using socket = new RouteSocket();
      const { index } = getLink(socket, far.link);
      socket.applyAll([
        addAddress({ link: index, address: far.address, prefixLength }),
        setLink(index, { up: true }),
        replaceRoute({ destination: 'default', gateway, link: index }),
      ]);
    });
  } finally {
    closeFd(fd);
  }
}

function setUpHubEnd(socket: RouteSocket, end: HubEnd, prefixLength: number): void {
  const { index } = getLink(socket, end.link);
  const belonging =
    'bridge' in end
      ? setLink(index, { master: getLink(socket, end.bridge).index })
      : addAddress({ link: index, address: end.address, prefixLength });
  socket.applyAll([belonging, setLink(index, { up: true })]);
}

/** In the hub's namespace, like the next. */
function setUpBridge({ name, own }: LabBridge): void {
  using socket = new RouteSocket();
  socket.apply(addBridge(name));
  const { index } = getLink(socket, name);
  socket.apply(setLink(index, { up: true }));
  if (own === undefined) return;
  const { address, prefixLength, gateway } = own;
  socket.applyAll([
    addAddress({ link: index, address, prefixLength }),
    replaceRoute({ destination: 'default', gateway, link: index }),
  ]);
}

/** The hub's end of a virtual machine's link. The other end is what QEMU makes of it. */
function setUpPort({ near, prefixLength }: LabPort): void {
  addTap(near.link);
  using socket = new RouteSocket();
  setUpHubEnd(socket, near, prefixLength);
}

const portsOf = ({ machines }: LabLayout): LabPort[] => machines.flatMap(({ ports }) => ports);

/** Makes all of it. Nothing of it may be there before; what was made when it fails is removed by {@link removeNetwork}. */
export function buildNetwork(layout: LabLayout): void {
  for (const node of layout.nodes) setUpNode(node);
  inNetnsOf({ name: layout.hub }, () => layout.bridges.forEach(setUpBridge));
  for (const link of layout.links) setUpLink(layout, link);
  inNetnsOf({ name: layout.hub }, () => portsOf(layout).forEach(setUpPort));
}

/** The names of the lab's namespaces that are there. */
export function presentNamespaces(layout: LabLayout): string[] {
  const present = listNamedNetns();
  return layout.nodes.map(({ netns }) => netns).filter((netns) => present.includes(netns));
}

function hasEnd(netns: string, end: HubEnd): boolean {
  return inNetnsOf({ name: netns }, () => {
    using socket = new RouteSocket();
    const link = findLink(socket, end.link);
    if (link === undefined || !link.up) return false;
    if ('bridge' in end) return link.master === findLink(socket, end.bridge)?.index;
    return listAddresses(socket).some((found) => found.link === link.index && found.address === end.address);
  });
}

const describeEnd = (end: HubEnd): string =>
  `link ${end.link} ${'bridge' in end ? `in ${end.bridge}` : `with ${end.address}`}`;

/** What of the network is missing, for people: "cr-vm1 has no link eth0 with 10.71.1.2". Empty: it is all there. */
export function missingInNetwork(layout: LabLayout): string[] {
  const present = presentNamespaces(layout);
  const missing = layout.nodes.filter(({ netns }) => !present.includes(netns));
  if (missing.length > 0) return missing.map(({ netns }) => `there is no network namespace ${netns}`);
  const ends = layout.links.flatMap(({ node, near, far }) => [
    { netns: layout.hub, end: near },
    { netns: netnsOf(layout, node), end: far as HubEnd },
  ]);
  ends.push(...portsOf(layout).map(({ near }) => ({ netns: layout.hub, end: near })));
  return ends.flatMap(({ netns, end }) => {
    try {
      return hasEnd(netns, end) ? [] : [`${netns} has no ${describeEnd(end)}`];
    } catch (thrown) {
      // A name that leads to no namespace, left by a maker that died in between.
      if (thrown instanceof KernelError) return [`${netns} is not a network namespace`];
      throw thrown;
    }
  });
}

/** Removes whatever is there of it. A namespace that a process is still in stays until that ends, but has no link. */
export function removeNetwork(layout: LabLayout): void {
  // At once, and not when the kernel gets round to taking the namespaces apart.
  const present = presentNamespaces(layout);
  for (const netns of present) {
    try {
      inNetnsOf({ name: netns }, () => {
        using socket = new RouteSocket();
        const own = [...portsOf(layout).map(({ near }) => near.link), ...layout.bridges.map(({ name }) => name)];
        for (const name of netns === layout.hub ? own : []) socket.applyUnless(deleteLink(name), ENODEV);
        for (const { node, near, far } of layout.links) {
          if (netns === layout.hub) socket.applyUnless(deleteLink(near.link), ENODEV);
          else if (netns === netnsOf(layout, node)) socket.applyUnless(deleteLink(far.link), ENODEV);
        }
      });
    } catch (thrown) {
      if (!(thrown instanceof KernelError)) throw thrown;
    }
  }
  for (const netns of present) deleteNamedNetns(netns);
}
