/**
 * The destination's whole data plane of a replicated migration: what the source got goes in, what the copy says is
 * compared with what the source said, and stays here until the copy is the owner.
 *
 *     log ─ inputs ──► injector ──► sandbox ──► process ──► gate ──► comparison ◄── outputs ─ log
 *                                                             └── held: beyond the log ──► release
 */
import { assert } from '../base/assert.ts';
import { ComicranError } from '../base/errors.ts';
import type { LogEntry } from '../base/traffic-log.ts';
import { KernelError } from '../linux/errno.ts';
import { closeFd, inNetns, type NetnsRef, openNetns } from '../linux/netns.ts';
import { receiveOnAnyCpu, receiveOnOneCpu, receiveSteering } from '../linux/receive-cpu.ts';
import { getLink, macBytes, RouteSocket } from '../linux/rtnetlink/index.ts';
import { type Difference, flowText, OutputComparison } from './comparison.ts';
import { DatagramAssembler, PROTOCOL_UDP } from './datagrams.ts';
import { OutputGate } from './gate.ts';
import { InputInjector } from './injector.ts';
import type { WatchedSocket } from './marks.ts';
import { flowOf } from './output-numbering.ts';

/** Packets of one step, so that reading and injecting take turns. */
const STEP_PACKETS = 256;
const WARM_ROUNDS = 50;
/** Any will do. */
const ONE_CPU = 1;

type ReplayOptions = {
  /** A process in the sandbox's network namespace: of the skeleton. */
  readonly pid: number;
  /** The sandbox's own end of its link: `eth0`. */
  readonly linkName: string;
  /** The VM's network namespace, and its end of the link. */
  readonly vm: NetnsRef;
  readonly vmLinkName: string;
  /** Local ports whose outputs are not compared: silent until the release, the copy's own afterwards. */
  readonly uncomparedPorts?: Iterable<number>;
};

export type ReplayStatus = {
  /** Inputs that have gone into the sandbox. */
  readonly injected: number;
  /** Inputs that wait for room, or for the sockets. */
  readonly waiting: number;
  /** Outputs that were equal. */
  readonly compared: number;
  /** Outputs of the log that the copy has not reproduced yet. */
  readonly expected: number;
  /** Outputs of the copy beyond the log. */
  readonly held: number;
  /** Of flows that are not compared: the copy's, and those of the log. */
  readonly silenced: number;
  readonly passedOver: number;
  /** Packets that the kernel made for a sandbox that was not to be heard; they are gone. */
  readonly strangers: number;
  readonly difference: Difference | undefined;
};

export class Replay {
  readonly #vm: NetnsRef;
  readonly #vmLinkName: string;
  readonly #gate: OutputGate;
  readonly #injector: InputInjector;
  readonly #comparison: OutputComparison;
  readonly #assembler = new DatagramAssembler();
  #strangers = 0;
  /** The VM's end was received by any CPU. */
  #spread = false;
  #closed = false;
  #ended = false;

  /**
   * Shuts the gate: from now on nothing that the sandbox sends is heard. To be made before the process runs. The caller
   * closes it. @throws ComicranError needs.kernel, replication.unsuitable
   */
  constructor(options: ReplayOptions) {
    const { pid, linkName, vm, vmLinkName, uncomparedPorts } = options;
    this.#comparison = new OutputComparison(uncomparedPorts);
    const sandboxMac = inNetnsOnce({ pid }, () => {
      using routes = new RouteSocket();
      return macBytes(getLink(routes, linkName).mac);
    });
    this.#vm = vm;
    this.#vmLinkName = vmLinkName;
    this.#injector = inNetnsOnce(vm, () => {
      using routes = new RouteSocket();
      const { index, mac } = getLink(routes, vmLinkName);
      // What is released and what the copy then sends itself come from different CPUs, and stay in order only so.
      this.#spread = receiveSteering(vmLinkName).cpus.length === 0;
      if (this.#spread) receiveOnOneCpu(vmLinkName, ONE_CPU);
      return new InputInjector({ link: index, sandboxMac, gatewayMac: macBytes(mac) });
    });
    try {
      this.#gate = OutputGate.shut({ pid, linkName });
      this.#warm();
    } catch (thrown) {
      this.#injector.close();
      throw thrown;
    }
  }

  /** Code that has run before runs several times as fast. */
  #warm(): void {
    for (let round = 0; round < WARM_ROUNDS; round++) {
      this.step();
      this.check();
      this.#releaseHeld();
    }
  }

  /** Readable when the copy has said something. Input that waits is not announced: step is to be called again soon. */
  get descriptors(): number[] {
    return [this.#gate.descriptor];
  }

  /** The copy's UDP sockets are there; it need not run. Before this, inputs wait. {@link InputInjector.attach} */
  attach(sockets: readonly WatchedSocket[]): void {
    this.#injector.attach(sockets);
  }

  /**
   * The next entry of the source's log. It goes into effect with {@link step}. After {@link release} inputs are
   * stragglers, and go the same way.
   * @throws ComicranError peer.protocol, replication.lagging
   */
  play(entry: LogEntry): void {
    if (entry.kind === 'input') this.#injector.add(entry);
    else if (!this.#ended) this.#comparison.expect(entry);
  }

  /**
   * Injects what there is room for, reads what the copy has said, and compares.
   * @returns whether there was anything to do; if so there may be more.
   * @throws ComicranError replication.overrun, replication.lagging
   */
  step(): boolean {
    const injected = this.#injector.step();
    const read = this.#ended ? 0 : this.#readGate(STEP_PACKETS);
    return injected + read > 0;
  }

  #readGate(maxPackets: number): number {
    for (let count = 0; count < maxPackets; count++) {
      const packet = this.#gate.read();
      if (packet === null) return count;
      this.#hear(packet);
    }
    return maxPackets;
  }

  #hear(packet: Buffer): void {
    // Where the fragments of one datagram are all here they are together within microseconds: no age is needed.
    const copy = Buffer.from(packet);
    const datagram = this.#assembler.add(copy, 0);
    if (datagram === undefined) {
      if (copy[9] !== PROTOCOL_UDP) this.#strangers++;
      return;
    }
    this.#comparison.reproduce({
      flow: flowOf(datagram),
      payload: datagram.payload,
      packets: datagram.packets,
    });
  }

  status(): ReplayStatus {
    const { compared, expected, held, silenced, passedOver, difference } = this.#comparison;
    const { injected, waiting } = this.#injector;
    const strangers = this.#strangers;
    return { injected, waiting, compared, expected, held, silenced, passedOver, strangers, difference };
  }

  /**
   * The copy is the owner, and has reproduced the whole log: what it said beyond it leaves, in order. To be called when
   * ownership is certain and `expected` is 0, and {@link open} at once behind it.
   * @returns how many outputs were held
   * @throws ComicranError replication.diverged, replication.overrun: nothing has left
   */
  release(): number {
    assert(!this.#ended, 'a replay ends once');
    while (this.#readGate(STEP_PACKETS) > 0);
    this.check();
    assert(this.#comparison.expected === 0, 'a copy that has not reproduced the whole log is not released');
    this.#ended = true;
    return this.#releaseHeld();
  }

  /** Behind {@link release}: what the copy has said since then follows, and from then on it speaks for itself. */
  open(): void {
    assert(this.#ended, 'a gate is opened behind the release');
    this.#gate.open();
  }

  #releaseHeld(): number {
    const held = this.#comparison.takeHeld();
    for (const packets of held) this.#gate.release(packets);
    // The process may be in the middle of a datagram that it sends in fragments; the rest comes through the gate, or past it.
    this.#gate.release(this.#assembler.takeIncomplete());
    return held.length;
  }

  /** @throws ComicranError replication.diverged, replication.overrun: something that the copy got or said is lost */
  check(): void {
    const { difference } = this.#comparison;
    if (difference !== undefined) throw diverged(difference);
    const lost = this.#gate.lost();
    if (lost > 0)
      throw new ComicranError('replication.overrun', `the gate had no room for ${lost} packets of the copy`);
    this.#injector.checkDrops();
  }

  /** The copy is not to be: nothing that it said is heard, now or later. May be repeated. */
  discard(): void {
    this.#ended = true;
    this.#gate.discard();
  }

  /** A gate that is shut stays shut. May be repeated. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#ended = true;
    this.#spreadAgain();
    this.#gate.close();
    this.#injector.close();
  }

  #spreadAgain(): void {
    if (!this.#spread) return;
    try {
      inNetnsOnce(this.#vm, () => receiveOnAnyCpu(this.#vmLinkName));
    } catch (thrown) {
      // The link is gone, and the sandbox with it.
      if (!(thrown instanceof KernelError)) throw thrown;
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function diverged({ flow, index, source, destination }: Difference): ComicranError {
  const words = ({ length, digest }: { readonly length: number; readonly digest: Uint8Array }): string =>
    `${length} bytes ${Buffer.from(digest).toString('hex')}`;
  const text = Buffer.from(destination.firstBytes).toString('hex');
  return new ComicranError(
    'replication.diverged',
    `answer ${index} of ${flowText(flow)}: the original sent ${words(source)}, the copy ${words(destination)} (${text})`,
    { hint: 'Declare a flow that a timer or a random number drives as uncompared, or use another mode.' },
  );
}

function inNetnsOnce<T>(reference: NetnsRef, run: () => T): T {
  const netns = openNetns(reference);
  try {
    return inNetns(netns, run);
  } finally {
    closeFd(netns);
  }
}
