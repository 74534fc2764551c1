/**
 * Outputs are committed by comparison: of each flow the outputs in the source's log are matched with those of the
 * destination, in order. Either may be ahead. Pure.
 *
 *     log of S:           a b c              →  expected: c        (S has sent it, D has still to)
 *     outputs of D:       a b
 *
 *     log of S:           a
 *     outputs of D:       a b c              →  held: b c          (beyond the log: D's own, once it may speak)
 */
import { ComicranError } from '../base/errors.ts';
import type { Flow, OutputEntry } from '../base/traffic-log.ts';
import { digestOf } from './digest.ts';
import { FlowTable, Queue } from './flow-table.ts';

/** Entries of the log that the destination may be behind, and bytes that it may be ahead, before it is given up. */
const MAX_EXPECTED = 1 << 20;
const MAX_HELD_BYTES = 256 << 20;
const FIRST_BYTES = 64;
/** What a packet that is held takes beside its bytes. */
const OVERHEAD_BYTES = 256;

/** An output of the destination's process. */
export type Reproduced = {
  readonly flow: Flow;
  readonly payload: Uint8Array;
  /** What it left in; kept as long as it is held. */
  readonly packets: readonly Uint8Array[];
};

type OutputFacts = { readonly length: number; readonly digest: Uint8Array };

/** The first output that differs. */
export type Difference = {
  readonly flow: Flow;
  /** Within the flow, since the mark. */
  readonly index: number;
  readonly source: OutputFacts;
  readonly destination: OutputFacts & { readonly firstBytes: Uint8Array };
};

type Held = {
  readonly length: number;
  readonly digest: Uint8Array;
  readonly firstBytes: Uint8Array;
  /** Undefined: it has been matched, and is not held any more. */
  packets: readonly Uint8Array[] | undefined;
  readonly bytes: number;
};

/** At most one of the two queues has something in it. */
type FlowState = {
  readonly flow: Flow;
  readonly expected: Queue<OutputEntry>;
  readonly held: Queue<Held>;
  /** Outputs of the log so far. */
  logged: number;
};

type ComparisonLimits = { readonly expected: number; readonly heldBytes: number };

export class OutputComparison {
  readonly #uncomparedPorts: ReadonlySet<number>;
  readonly #limits: ComparisonLimits;
  readonly #flows = new FlowTable<FlowState>();
  /** Of all flows, in the order in which they left; matched ones are passed over. */
  #order: Held[] = [];
  #matchedInOrder = 0;
  #compared = 0;
  #expected = 0;
  #held = 0;
  #heldBytes = 0;
  #silenced = 0;
  #passedOver = 0;
  #difference: Difference | undefined;

  /** @param uncomparedPorts ports, local or remote, whose outputs are not compared, and are the destination's own after the cutover. */
  constructor(
    uncomparedPorts: Iterable<number> = [],
    limits: ComparisonLimits = { expected: MAX_EXPECTED, heldBytes: MAX_HELD_BYTES },
  ) {
    this.#uncomparedPorts = new Set(uncomparedPorts);
    this.#limits = limits;
  }

  /** Pairs that were equal. */
  get compared(): number {
    return this.#compared;
  }

  /** Of the log, and not reproduced yet. */
  get expected(): number {
    return this.#expected;
  }

  /** Reproduced beyond the log. */
  get held(): number {
    return this.#held;
  }

  /** Outputs of flows that are not compared: the copy's, and those of the log. */
  get silenced(): number {
    return this.#silenced;
  }

  get passedOver(): number {
    return this.#passedOver;
  }

  get difference(): Difference | undefined {
    return this.#difference;
  }

  /** What goes by timer mostly comes from a port of its own, or goes to one. */
  #isUncompared({ localPort, remotePort }: Flow): boolean {
    return this.#uncomparedPorts.has(localPort) || this.#uncomparedPorts.has(remotePort);
  }

  /**
   * The next output of the source's log.
   * @throws ComicranError replication.lagging: too many wait; peer.protocol: not the next one of its flow
   */
  expect(entry: OutputEntry): void {
    if (this.#isUncompared(entry.flow)) {
      this.#passedOver++;
      return;
    }
    const state = this.#stateOf(entry.flow);
    if (entry.index !== state.logged)
      throw new ComicranError(
        'peer.protocol',
        `output ${entry.index} of ${flowText(entry.flow)} came where ${state.logged} was next`,
      );
    state.logged++;
    const held = state.held.shift();
    if (held !== undefined) {
      this.#held--;
      this.#match(state, entry, entry.index, held);
      this.#letGo(held);
      return;
    }
    if (this.#expected >= this.#limits.expected)
      throw new ComicranError('replication.lagging', `the copy is ${this.#expected} answers behind`);
    state.expected.push(entry);
    this.#expected++;
  }

  /** The next output of the destination's process. @throws ComicranError replication.lagging: too much is held */
  reproduce(output: Reproduced): void {
    if (this.#isUncompared(output.flow)) {
      this.#silenced++;
      return;
    }
    const state = this.#stateOf(output.flow);
    const { payload, packets } = output;
    const facts = { length: payload.length, digest: digestOf(payload), firstBytes: payload };
    const entry = state.expected.shift();
    if (entry !== undefined) {
      this.#expected--;
      this.#match(state, entry, entry.index, facts);
      return;
    }
    const bytes = packets.reduce((sum, packet) => sum + packet.length, OVERHEAD_BYTES);
    if (this.#heldBytes + bytes > this.#limits.heldBytes)
      throw new ComicranError('replication.lagging', `the copy is ${this.#held} answers ahead of the original's log`);
    const held: Held = { ...facts, firstBytes: Buffer.from(payload.subarray(0, FIRST_BYTES)), packets, bytes };
    state.held.push(held);
    this.#order.push(held);
    this.#held++;
    this.#heldBytes += bytes;
  }

  #match(state: FlowState, source: OutputFacts, index: number, destination: Difference['destination']): void {
    if (source.length === destination.length && Buffer.compare(source.digest, destination.digest) === 0) {
      this.#compared++;
      return;
    }
    this.#difference ??= {
      flow: state.flow,
      index,
      source: { length: source.length, digest: source.digest },
      destination: {
        length: destination.length,
        digest: destination.digest,
        firstBytes: Buffer.from(destination.firstBytes.subarray(0, FIRST_BYTES)),
      },
    };
  }

  #letGo(held: Held): void {
    held.packets = undefined;
    this.#heldBytes -= held.bytes;
    this.#matchedInOrder++;
    if (this.#matchedInOrder < 1024 || this.#matchedInOrder * 2 < this.#order.length) return;
    this.#order = this.#order.filter(({ packets }) => packets !== undefined);
    this.#matchedInOrder = 0;
  }

  /** What is held, in the order in which it left the process; it is held no longer. */
  takeHeld(): (readonly Uint8Array[])[] {
    const packets = this.#order.flatMap((held) => (held.packets === undefined ? [] : [held.packets]));
    this.#order = [];
    this.#matchedInOrder = 0;
    this.#held = 0;
    this.#heldBytes = 0;
    for (const { held } of this.#flows) held.clear();
    return packets;
  }

  #stateOf(flow: Flow): FlowState {
    return this.#flows.get(
      addressNumber(flow.localAddress),
      flow.localPort,
      addressNumber(flow.remoteAddress),
      flow.remotePort,
      () => ({ flow, expected: new Queue(), held: new Queue(), logged: 0 }),
    );
  }
}

const addressNumber = (bytes: Uint8Array): number =>
  ((bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!) >>> 0;

/** `10.88.0.5:7000 to 192.0.2.7:9`. */
export function flowText({ localAddress, localPort, remoteAddress, remotePort }: Flow): string {
  return `${localAddress.join('.')}:${localPort} to ${remoteAddress.join('.')}:${remotePort}`;
}
