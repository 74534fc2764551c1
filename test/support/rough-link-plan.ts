/** What a rough link does with which packet: the part of it that is values in, values out. */

/** Towards the machine, and from it. */
export const DIRECTIONS = ['in', 'out'] as const;
export type Direction = (typeof DIRECTIONS)[number];

/**
 * `requests`: UDP, that is what clients ask and are answered. `control`: the daemons' calls of each other, of the sdn and of
 * smanager. `migration`: every other TCP connection: state, pages, the sdn's record. `other`: what is none of these.
 */
export const KINDS = ['requests', 'control', 'migration', 'other'] as const;
export type Kind = (typeof KINDS)[number];

/** Probabilities of a frame. 1 as `loss` is a link that has been cut. */
export type Faults = { readonly loss: number; readonly duplication: number; readonly reordering: number };
export const NO_FAULTS: Faults = { loss: 0, duplication: 0, reordering: 0 };
export const CUT: Faults = { ...NO_FAULTS, loss: 1 };
export const FAULTS = ['loss', 'duplication', 'reordering'] as const;

export type Counts = {
  readonly passed: number;
  /** Also by the link itself, where a queue was full. */
  readonly lost: number;
  readonly duplicated: number;
  /** Held back until others had overtaken it. */
  readonly reordered: number;
};
export const COUNTS = ['passed', 'lost', 'duplicated', 'reordered'] as const;

/** Ports of the daemons in the lab: src/lab/layout.ts. */
const CONTROL_PORTS: readonly number[] = [7400, 7500];
const ETHERNET_BYTES = 14;
const ETH_P_IP = 0x0800;
const TCP = 6;
const UDP = 17;

/** Of an Ethernet frame; a fragment is of its datagram's kind (TCP does not fragment). */
export function kindOf(frame: Uint8Array): Kind {
  if (frame.length < ETHERNET_BYTES + 20 || ((frame[12]! << 8) | frame[13]!) !== ETH_P_IP) return 'other';
  const protocol = frame[ETHERNET_BYTES + 9];
  if (protocol === UDP) return 'requests';
  if (protocol !== TCP) return 'other';
  const ports = ETHERNET_BYTES + (frame[ETHERNET_BYTES]! & 15) * 4;
  const portAt = (at: number): number => (frame[at]! << 8) | frame[at + 1]!;
  return CONTROL_PORTS.includes(portAt(ports)) || CONTROL_PORTS.includes(portAt(ports + 2)) ? 'control' : 'migration';
}

/** The same numbers for the same seed: mulberry32, from 0 to below 1. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What happens to one frame. */
export type Fate = 'lost' | 'duplicated' | 'reordered' | 'passed';

/** At most one of the faults, with their probabilities. */
export function fateOf({ loss, duplication, reordering }: Faults, random: () => number): Fate {
  const drawn = random();
  if (drawn < loss) return 'lost';
  if (drawn < loss + duplication) return 'duplicated';
  return drawn < loss + duplication + reordering ? 'reordered' : 'passed';
}

const CELLS = DIRECTIONS.length * KINDS.length;

/** Faults and counts of every direction and kind, in memory that two threads share. */
export class LinkTable {
  readonly memory: SharedArrayBuffer;
  readonly #faults: Float64Array;
  readonly #counts: Float64Array;
  readonly #over: Int32Array;

  /** @param memory absent: new, without faults. */
  constructor(memory?: SharedArrayBuffer) {
    const faults = CELLS * FAULTS.length;
    this.memory = memory ?? new SharedArrayBuffer((faults + CELLS * COUNTS.length + 1) * 8);
    this.#faults = new Float64Array(this.memory, 0, faults);
    this.#counts = new Float64Array(this.memory, faults * 8, CELLS * COUNTS.length);
    this.#over = new Int32Array(this.memory, (faults + CELLS * COUNTS.length) * 8, 1);
  }

  #cell(direction: Direction, kind: Kind): number {
    return DIRECTIONS.indexOf(direction) * KINDS.length + KINDS.indexOf(kind);
  }

  faults(direction: Direction, kind: Kind): Faults {
    const at = this.#cell(direction, kind) * FAULTS.length;
    const [loss, duplication, reordering] = this.#faults.subarray(at, at + FAULTS.length);
    return { loss: loss!, duplication: duplication!, reordering: reordering! };
  }

  setFaults(direction: Direction, kind: Kind, faults: Faults): void {
    const at = this.#cell(direction, kind) * FAULTS.length;
    for (const [index, name] of FAULTS.entries()) this.#faults[at + index] = faults[name];
  }

  counts(direction: Direction, kind: Kind): Counts {
    const at = this.#cell(direction, kind) * COUNTS.length;
    const [passed, lost, duplicated, reordered] = this.#counts.subarray(at, at + COUNTS.length);
    return { passed: passed!, lost: lost!, duplicated: duplicated!, reordered: reordered! };
  }

  /** The link is to go. */
  get over(): boolean {
    return Atomics.load(this.#over, 0) === 1;
  }

  end(): void {
    Atomics.store(this.#over, 0, 1);
  }

  /** By the forwarding thread alone. */
  count(direction: Direction, kind: Kind, fate: Fate): void {
    const at = this.#cell(direction, kind) * COUNTS.length + COUNTS.indexOf(fate);
    this.#counts[at] = this.#counts[at]! + 1;
  }
}
