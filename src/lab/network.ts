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
import type { LabLayout, LabLink, LabMachine, LabNode } from './layout.ts';

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
  const { near, far, prefixLength } = link;
  const farNetns = { name: netnsOf(layout, link.node) };
  const fd = openNetns(farNetns);
  try {
    inNetnsOf({ name: layout.hub }, () => {
      using socket = new RouteSocket();
      socket.apply(addVeth({ name: near.link }, { name: far.link, netns: fd }));
      const { index } = getLink(socket, near.link);
      socket.applyAll([addAddress({ link: index, address: near.address, prefixLength }), setLink(index, { up: true })]);
    });
    inNetnsOf(farNetns, () => {
      using socket = new RouteSocket();
      const { index } = getLink(socket, far.link);
      socket.applyAll([
        addAddress({ link: index, address: far.address, prefixLength }),
        setLink(index, { up: true }),
        replaceRoute({ destination: 'default', gateway: near.address, link: index }),
      ]);
    });
  } finally {
    closeFd(fd);
  }
}

/** The SDN node's end of a virtual machine's link. The other end is what QEMU makes of it. */
function setUpMachineLink(layout: LabLayout, { near, prefixLength }: LabMachine): void {
  inNetnsOf({ name: layout.hub }, () => {
    addTap(near.link);
    using socket = new RouteSocket();
    const { index } = getLink(socket, near.link);
    socket.applyAll([addAddress({ link: index, address: near.address, prefixLength }), setLink(index, { up: true })]);
  });
}

/** Makes all of it. Nothing of it may be there before; what was made when it fails is removed by {@link removeNetwork}. */
export function buildNetwork(layout: LabLayout): void {
  for (const node of layout.nodes) setUpNode(node);
  for (const link of layout.links) setUpLink(layout, link);
  for (const machine of layout.machines) setUpMachineLink(layout, machine);
}

/** The names of the lab's namespaces that are there. */
export function presentNamespaces(layout: LabLayout): string[] {
  const present = listNamedNetns();
  return layout.nodes.map(({ netns }) => netns).filter((netns) => present.includes(netns));
}

function hasLink(netns: string, name: string, address: string): boolean {
  return inNetnsOf({ name: netns }, () => {
    using socket = new RouteSocket();
    const link = findLink(socket, name);
    if (link === undefined || !link.up) return false;
    return listAddresses(socket).some((found) => found.link === link.index && found.address === address);
  });
}

/** What of the network is missing, for people: "cr-vm1 has no link eth0 with 10.71.1.2". Empty: it is all there. */
export function missingInNetwork(layout: LabLayout): string[] {
  const present = presentNamespaces(layout);
  const missing = layout.nodes.filter(({ netns }) => !present.includes(netns));
  if (missing.length > 0) return missing.map(({ netns }) => `there is no network namespace ${netns}`);
  const ends = layout.links.flatMap(({ node, near, far }) => [
    { netns: layout.hub, ...near },
    { netns: netnsOf(layout, node), ...far },
  ]);
  ends.push(...layout.machines.map(({ near }) => ({ netns: layout.hub, ...near })));
  return ends.flatMap(({ netns, link, address }) => {
    try {
      return hasLink(netns, link, address) ? [] : [`${netns} has no link ${link} with ${address}`];
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
        for (const { near } of netns === layout.hub ? layout.machines : [])
          socket.applyUnless(deleteLink(near.link), ENODEV);
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
