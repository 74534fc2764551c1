/** Datagrams into a sandbox, as if they had come from the network or from inside it. */
import { ComicranError } from '../../base/errors.ts';
import { type Datagram, fitsIp, isIpv6 } from '../../base/packets/datagram.ts';
import { encodePackets } from '../../base/packets/encode.ts';
import { ETHER_TYPE, encodeFrame, MAC_BYTES, multicastMac } from '../../base/packets/ethernet.ts';
import { FrameSender } from '../../linux/packet-socket.ts';
import { PollSet } from '../../linux/poll.ts';
import { PacketSender } from '../../linux/raw-socket.ts';
import { WARM_ROUNDS } from './warm.ts';

/** How a thread waits for room that nothing announces, and how often. */
const RETRY_MS = 0.2;
const MAX_RETRIES = 10_000;

/** Sends until there is room, blocking the thread; frames stay in order. */
function sendWhenRoom(trySend: () => boolean): void {
  if (trySend()) return;
  const nothing = new PollSet(1);
  for (let retries = 0; retries < MAX_RETRIES; retries++) {
    nothing.wait(RETRY_MS);
    if (trySend()) return;
  }
  throw new ComicranError('deadline', 'the sandbox takes no packets: no room to inject a datagram');
}

/** Numbers the fragments of datagrams; begins anywhere, so that another run's fragments are not taken for its own. */
class Identifications {
  #next: number;

  constructor(first: number) {
    this.#next = first >>> 0;
  }

  next(): number {
    this.#next = (this.#next + 1) >>> 0;
    return this.#next;
  }
}

export type SandboxLink = {
  /** Index of the VM's end of the sandbox's link. */
  readonly link: number;
  readonly mtu: number;
  readonly sandboxMac: Buffer;
  readonly gatewayMac: Buffer;
};

/** From the network: Ethernet frames into the VM's end of the link, past whatever holds other packets there. */
export class LinkInjector {
  readonly #sandbox: SandboxLink;
  readonly #sender: FrameSender;
  readonly #identifications: Identifications;

  /** In the VM's network namespace. The caller closes it. @param random any number of 32 bits. */
  constructor(sandbox: SandboxLink, random: number) {
    this.#sandbox = sandbox;
    this.#sender = new FrameSender(sandbox.link, { bypass: true });
    this.#identifications = new Identifications(random);
  }

  inject(datagram: Datagram): void {
    this.#send(datagram, multicastMac(datagram.destinationAddress) ?? this.#sandbox.sandboxMac);
  }

  /** Goes through everything with frames that no host takes for its own. @see WARM_ROUNDS */
  warm(datagram: Datagram): void {
    const nobody = Buffer.alloc(MAC_BYTES);
    for (let round = 0; round < WARM_ROUNDS; round++) this.#send(datagram, nobody);
  }

  #send(datagram: Datagram, mac: Buffer): void {
    const { mtu, gatewayMac } = this.#sandbox;
    const etherType = isIpv6(datagram) ? ETHER_TYPE.IPV6 : ETHER_TYPE.IPV4;
    for (const packet of encodePackets(datagram, mtu, this.#identifications.next())) {
      const frame = encodeFrame(mac, gatewayMac, etherType, packet);
      sendWhenRoom(() => this.#sender.trySend(frame));
    }
  }

  close(): void {
    this.#sender.close();
  }
}

/** MTU of the loopback device, which nobody changes. */
const LOOPBACK_MTU = 65_536;

/**
 * From inside: a datagram that the sandbox had sent to itself. On the link it would be dropped, because no packet from
 * outside has an address of one's own as its source (a martian, RFC 1812).
 */
export class LoopbackInjector {
  readonly #senders = new Map<4 | 6, PacketSender>();
  readonly #inSandbox: <T>(run: () => T) => T;
  readonly #identifications: Identifications;

  /** @param inSandbox runs a function with the thread in the sandbox's network namespace. The caller closes this. */
  constructor(inSandbox: <T>(run: () => T) => T, random: number) {
    this.#inSandbox = inSandbox;
    this.#identifications = new Identifications(random);
  }

  inject(datagram: Datagram): void {
    const family = isIpv6(datagram) ? 6 : 4;
    const sender = this.#senders.get(family) ?? this.#inSandbox(() => new PacketSender(family));
    this.#senders.set(family, sender);
    const destination = Buffer.from(datagram.destinationAddress);
    for (const packet of encodePackets(datagram, LOOPBACK_MTU, this.#identifications.next()))
      sendWhenRoom(() => sender.trySend(packet, destination));
  }

  close(): void {
    for (const sender of this.#senders.values()) sender.close();
    this.#senders.clear();
  }
}

/** @throws ComicranError peer.protocol: no IP packet can carry it, so no socket can have got it. */
export function checkCarriable(datagram: Datagram): void {
  if (!fitsIp(datagram))
    throw new ComicranError('peer.protocol', `a datagram of ${datagram.payload.length} bytes does not fit a packet`);
}

/** Whether a sandbox with this address sent the datagram to itself. */
export function isFromInside({ sourceAddress }: Datagram, sandboxAddress: Uint8Array): boolean {
  const source = Buffer.from(sourceAddress);
  if (source.equals(sandboxAddress)) return true;
  if (source.length === 4) return source[0] === 127;
  return source.equals(Buffer.concat([Buffer.alloc(15), Buffer.from([1])]));
}
