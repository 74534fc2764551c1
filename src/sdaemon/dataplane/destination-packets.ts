/** The destination's side of a sandbox's network in a migration: hold, inject, release. */
import { randomBytes } from 'node:crypto';
import { ipv4Bytes } from '../../base/ipv4.ts';
import { INSIDE_LINK } from '../../jailor/naming.ts';
import { closeFd, inNetns, inNetnsOf, openOwnNetns } from '../../linux/netns.ts';
import { receiveOnOneCpu } from '../../linux/receive-cpu.ts';
import { findLink, getLink, macBytes, RouteSocket } from '../../linux/rtnetlink/index.ts';
import type { CarriedDatagram, DestinationPackets } from '../../migration/ports.ts';
import { leadAll, leadArriving, leadNothing } from './arrival-route.ts';
import { PacketHold } from './hold.ts';
import { checkCarriable, isFromInside, LinkInjector, LoopbackInjector } from './injector.ts';

export type SandboxNetwork = {
  /** The VM's end of the sandbox's link. */
  readonly linkName: string;
  /** IPv4 address of the sandbox. */
  readonly address: string;
  /** MAC address of the sandbox's end. */
  readonly mac: string;
  /** A process in the sandbox, as this machine sees it: any one that lives as long as the skeleton. */
  readonly pid: number;
};

/**
 * Works on the network namespace of the thread that made it, which is the VM's. Holds only descriptors: what it has set
 * up in the kernel outlives it, and another one made for the same sandbox can end it.
 */
export class SandboxPackets implements DestinationPackets {
  readonly #network: SandboxNetwork;
  readonly #netns = openOwnNetns();
  readonly #routes = new RouteSocket();
  readonly #hold: PacketHold;
  readonly #loopback: LoopbackInjector;
  readonly #addressBytes: Buffer;
  #link: LinkInjector | undefined;
  #closed = false;

  /** The caller closes it. */
  constructor(network: SandboxNetwork) {
    this.#network = network;
    this.#hold = new PacketHold(this.#routes, (run) => this.#inVm(run), network.linkName);
    this.#addressBytes = ipv4Bytes(network.address);
    this.#loopback = new LoopbackInjector((run) => this.#inSandbox(run), random());
  }

  /** Also leads packets that come in for the sandbox's address to the link, where they wait. */
  async hold(): Promise<void> {
    this.#hold.close();
    // Behind the hold two CPUs could still swap packets, of the two ways in too.
    this.#inSandbox(() => {
      for (const link of [INSIDE_LINK, 'lo']) receiveOnOneCpu(link, this.#addressBytes[3]!);
    });
    const someDatagram = { sourceAddress: this.#addressBytes, destinationAddress: this.#addressBytes };
    this.#injector().warm({ ...someDatagram, sourcePort: 1, destinationPort: 1, payload: Buffer.alloc(64) });
    leadArriving(this.#routes, this.#network.address, getLink(this.#routes, this.#network.linkName).index);
  }

  inject(datagram: CarriedDatagram): void {
    checkCarriable(datagram);
    if (isFromInside(datagram, this.#addressBytes)) this.#loopback.inject(datagram);
    else this.#injector().inject(datagram);
  }

  /** @returns `lost`: found the queue of the hold full. */
  async release(): Promise<{ readonly held: number; readonly lost: number }> {
    const link = findLink(this.#routes, this.#network.linkName);
    if (link !== undefined) leadAll(this.#routes, this.#network.address, link.index);
    return this.#hold.open();
  }

  async discard(): Promise<void> {
    leadNothing(this.#routes, this.#network.address, findLink(this.#routes, this.#network.linkName)?.index);
    this.#hold.discard();
  }

  /** May be repeated. Nothing changes in the kernel. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#link?.close();
    this.#loopback.close();
    this.#hold.dispose();
    this.#routes.close();
    closeFd(this.#netns);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #inVm<T>(run: () => T): T {
    return inNetns(this.#netns, run);
  }

  #inSandbox<T>(run: () => T): T {
    return inNetnsOf({ pid: this.#network.pid }, run);
  }

  #injector(): LinkInjector {
    if (this.#link === undefined) {
      const { index, mtu, mac } = getLink(this.#routes, this.#network.linkName);
      const macs = { sandboxMac: macBytes(this.#network.mac), gatewayMac: macBytes(mac) };
      this.#link = this.#inVm(() => new LinkInjector({ link: index, mtu, ...macs }, random()));
    }
    return this.#link;
  }
}

const random = (): number => randomBytes(4).readUInt32LE(0);
