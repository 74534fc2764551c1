/**
 * The output rule, at the source: no output leaves before the destination has the log up to it. Should the source's machine
 * die, the copy then has had everything that anybody outside knows of.
 *
 *     process ─► gate ─► read: an entry of the log ─ … ─► destination
 *                 └── held ──► acknowledge(n) ──► the first n leave, in order
 *
 * The gate stands before the place where a TrafficTap watches, and what it releases goes past it: so with the rule
 * the tap's log has inputs only, and the outputs are read here. Who writes the log reads here first, then from the tap
 * all that waits there, and sends those inputs before these outputs: what an output answers has come in before it.
 */
import { assert } from '../base/assert.ts';
import { ComicranError } from '../base/errors.ts';
import type { OutputEntry } from '../base/traffic-log.ts';
import { DatagramAssembler, PROTOCOL_UDP } from './datagrams.ts';
import { Queue } from './flow-table.ts';
import { OutputGate, type OutputGateOptions } from './gate.ts';
import { OutputNumbering } from './output-numbering.ts';

/** What may be held, in bytes. */
const MAX_HELD_BYTES = 64 << 20;

export class OutputRule {
  readonly #gate: OutputGate;
  readonly #assembler = new DatagramAssembler();
  readonly #numbering = new OutputNumbering();
  readonly #held = new Queue<readonly Buffer[]>();
  #heldBytes = 0;
  #marked = false;
  #told = 0;
  #left = 0;

  /**
   * From now on outputs pass through here; until {@link mark} they leave at once, when they are read. Where the sandbox
   * has never had a gate its link drops some of what is sent in the moment in which it is made. The caller closes it.
   */
  constructor(options: OutputGateOptions) {
    this.#gate = OutputGate.shut(options);
  }

  /** Readable when the process has said something. */
  get descriptor(): number {
    return this.#gate.descriptor;
  }

  /** Outputs that are held. */
  get held(): number {
    return this.#held.length;
  }

  /** The log begins: to be called while the process stands still. What it has said so far leaves. */
  mark(): void {
    assert(!this.#marked, 'an output rule was marked before');
    this.#readGate(Number.POSITIVE_INFINITY, () => undefined);
    this.#marked = true;
  }

  /**
   * Entries of the log since the mark; what they stand for is held.
   * @throws ComicranError replication.lagging: the destination acknowledges nothing; replication.overrun
   */
  read(maxEntries: number): OutputEntry[] {
    const entries: OutputEntry[] = [];
    this.#readGate(maxEntries, (entry) => void entries.push(entry));
    return entries;
  }

  #readGate(maxEntries: number, tell: (entry: OutputEntry) => void): void {
    for (let told = 0; told < maxEntries; ) {
      const packet = this.#gate.read();
      if (packet === null) break;
      const copy = Buffer.from(packet);
      if (copy[9] !== PROTOCOL_UDP) {
        // The owner's kernel may speak.
        this.#gate.release([copy]);
        continue;
      }
      const datagram = this.#assembler.add(copy, 0);
      if (datagram === undefined) continue;
      if (!this.#marked) {
        this.#gate.release(datagram.packets);
        continue;
      }
      tell(this.#numbering.entryOf(datagram));
      told++;
      this.#told++;
      this.#held.push(datagram.packets);
      this.#heldBytes += bytesOf(datagram.packets);
    }
    const lost = this.#gate.lost();
    if (lost > 0) throw new ComicranError('replication.overrun', `the gate had no room for ${lost} answers`);
    if (this.#heldBytes > MAX_HELD_BYTES)
      throw new ComicranError('replication.lagging', `${this.held} answers wait for the destination to have the log`);
  }

  /** The destination has the log up to so many outputs since the mark, and all inputs before them: they leave. */
  acknowledge(outputs: number): void {
    assert(outputs <= this.#told, 'an output is acknowledged that was not told of');
    for (; this.#left < outputs; this.#left++) {
      const packets = this.#held.shift() ?? [];
      this.#heldBytes -= bytesOf(packets);
      this.#gate.release(packets);
    }
  }

  /** Outputs since the mark that {@link read} has told of. When the process is stopped and cut, read them all first. */
  get outputs(): number {
    return this.#told;
  }

  /** The rule ends, and the process goes on: what is held leaves, and everything after that by itself. */
  end(): void {
    this.acknowledge(this.#told);
    this.#gate.release(this.#assembler.takeIncomplete());
    this.#gate.open();
  }

  /** Without {@link end} the gate stays shut. May be repeated. */
  close(): void {
    this.#gate.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

const bytesOf = (packets: readonly Buffer[]): number => packets.reduce((sum, { length }) => sum + length, 0);
