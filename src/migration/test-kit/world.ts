/** Two machines, the sdn between them and their client, and one migration. */
import { ComicranError } from '../../base/errors.ts';
import type { DestinationMessage, SourceMessage } from '../messages.ts';
import { leadsLate, type ModeName } from '../modes.ts';
import type { Channel, Ownership, OwnershipRecord } from '../ports.ts';
import type { Life } from './life.ts';
import { Machine } from './machine.ts';
import { Random } from './random.ts';
import { type Break, type Connection, connection } from './stream.ts';
import { VirtualClock } from './virtual-clock.ts';

/** A time in which the sdn is not to be had, in microseconds. */
export type Outage = {
  readonly from: number;
  readonly to: number;
  /** What is lost: the question, the answer, or the question comes when the outage is over. */
  readonly how: 'refused' | 'lost' | 'answer-lost' | 'late';
  /** Absent: for both machines. */
  readonly for?: 'source' | 'destination';
};

export type WorldOptions = {
  readonly mode: ModeName;
  readonly seed: number;
  /** What happens to the connections, in the order in which they are made. */
  readonly breaks?: readonly (Break | undefined)[];
  readonly outages?: readonly Outage[];
  /** The sdn ends before it is first asked to lead, and is there again so many microseconds later. */
  readonly noLeadMicros?: number;
  /** Longest time that a missing page takes. */
  readonly pageMicros?: number;
};

export class World {
  readonly clock = new VirtualClock();
  readonly mode: ModeName;
  readonly random: Random;
  readonly source: Machine;
  readonly destination: Machine;
  readonly latencyMicros = 400;
  readonly serviceMicros = 150;
  readonly pageMicros: number;
  record: OwnershipRecord;
  /** Name of the machine that the client's requests go to. */
  route: string;
  /** Requests in the order in which some instance has answered them. */
  readonly answered: number[] = [];
  readonly lost: number[] = [];
  /** Machines whose packets the network does not take. */
  readonly #shutOut = new Set<string>();
  /** Answers that came from there. */
  shutOutAnswers = 0;
  /** Changes of the owner without its word. */
  takeovers = 0;
  readonly violations: string[] = [];
  readonly connections: Connection[] = [];
  #sent = 0;
  #flying = 0;
  readonly #breaks: readonly (Break | undefined)[];
  readonly #outages: readonly Outage[];
  readonly #noLeadMicros: number;
  #leadFromMicros: number | undefined;
  #listener: ((channel: Channel<DestinationMessage, SourceMessage>) => void) | undefined;
  readonly #backlog: Channel<DestinationMessage, SourceMessage>[] = [];
  listening = false;

  constructor(options: WorldOptions) {
    this.random = new Random(options.seed);
    this.mode = options.mode;
    this.pageMicros = options.pageMicros ?? 300;
    this.#breaks = options.breaks ?? [];
    this.#outages = options.outages ?? [];
    this.#noLeadMicros = options.noLeadMicros ?? 0;
    this.source = new Machine('vm1', this);
    this.destination = new Machine('vm2', this);
    this.record = { owner: 'vm1', epoch: 7n };
    this.route = 'vm1';
    this.source.boot();
  }

  get sent(): number {
    return this.#sent;
  }

  /** Nothing is on its way, and nobody who runs has anything to do. */
  get quiet(): boolean {
    return this.#flying === 0 && this.source.idle && this.destination.idle;
  }

  violation(what: string): void {
    this.violations.push(`${this.clock.nowMicros()} µs: ${what}`);
  }

  noteRunning(): void {
    if (this.source?.isHeard && this.destination?.isHeard) this.violation('both instances are heard');
  }

  takesFrom(machine: Machine): boolean {
    return !this.#shutOut.has(machine.name);
  }

  /** The answer of some instance, on its way to the client. */
  answer(machine: Machine, request: number): void {
    if (this.takesFrom(machine)) this.answered.push(request);
    else this.shutOutAnswers++;
  }

  lose(request: number): void {
    this.lost.push(request);
  }

  /** Something that takes a little while. */
  work(): Promise<void> {
    return this.clock.pause(this.random.between(1, 300));
  }

  /** The client sends its next request, on the route of this moment. */
  request(): void {
    const request = this.#sent++;
    const machine = this.route === this.source.name ? this.source : this.destination;
    this.#flying++;
    // All take the same time, so that what overtakes does so for the migration's reasons.
    this.clock.after(this.latencyMicros, () => {
      this.#flying--;
      machine.arrive(request);
    });
  }

  ownership(machine: Machine): Ownership {
    return {
      take: (expectedEpoch) => this.#atSdn(machine, () => this.#setOwner(machine, expectedEpoch)),
      give: (expectedEpoch) => this.#atSdn(machine, () => this.#setOwner(this.#otherOf(machine), expectedEpoch)),
      takeOver: (expectedEpoch) => this.#atSdn(machine, () => this.#takeOver(machine, expectedEpoch)),
      look: () => this.#atSdn(machine, () => this.record),
      lead: async () => {
        this.#leadFromMicros ??= this.clock.nowMicros() + this.#noLeadMicros;
        if (this.clock.nowMicros() < this.#leadFromMicros)
          throw new ComicranError('sdn.unreachable', 'the sdn has ended');
        return this.#atSdn(machine, () => this.#lead(machine));
      },
    };
  }

  #otherOf(machine: Machine): Machine {
    return machine === this.source ? this.destination : this.source;
  }

  #setOwner(owner: Machine, expectedEpoch: bigint): OwnershipRecord {
    if (this.record.epoch !== expectedEpoch) return this.record;
    this.record = { owner: owner.name, epoch: expectedEpoch + 1n };
    if (owner === this.source || !leadsLate(this.mode)) this.route = owner.name;
    this.#shutOut.delete(owner.name);
    // The source fences: nothing of the destination is taken from then on.
    if (owner === this.source) this.#shutOut.add(this.destination.name);
    return this.record;
  }

  /** The record, the route, and the end of the source's way to the client, in one. */
  #takeOver(machine: Machine, expectedEpoch: bigint): OwnershipRecord {
    const before = this.record.epoch;
    this.#setOwner(machine, expectedEpoch);
    const isTheirs = this.record.owner === machine.name && this.record.epoch === expectedEpoch + 1n;
    if (!isTheirs) return this.record;
    if (before === expectedEpoch) this.takeovers++;
    this.route = machine.name;
    this.#shutOut.add(this.#otherOf(machine).name);
    return this.record;
  }

  #lead(machine: Machine): void {
    if (this.record.owner !== machine.name) throw new ComicranError('ownership.lost', `${machine.name} does not own`);
    if (!machine.runs) this.violation(`requests are led to ${machine.name}, where nobody answers`);
    this.route = machine.name;
  }

  /** A question to the sdn and its answer. */
  async #atSdn<Answer>(machine: Machine, act: () => Answer): Promise<Answer> {
    const outage = this.#outages.find(({ from, to, for: side }) => {
      const now = this.clock.nowMicros();
      const isTheirs = side === undefined || machine === (side === 'source' ? this.source : this.destination);
      return isTheirs && from <= now && now < to;
    });
    if (outage?.how === 'refused') throw new ComicranError('sdn.unreachable', 'the sdn is not there');
    if (outage?.how === 'lost') return new Promise(() => {});
    if (outage?.how === 'late') await this.clock.pause(outage.to - this.clock.nowMicros());
    await this.clock.pause(this.random.between(50, 500));
    const answer = act();
    if (outage?.how === 'answer-lost') return new Promise(() => {});
    await this.clock.pause(this.random.between(50, 500));
    return answer;
  }

  // ------------------------------------------------------------------------------------------------- connections

  async connect(): Promise<Channel<SourceMessage, DestinationMessage>> {
    await this.clock.pause(this.random.between(50, 300));
    if (!this.listening) throw new ComicranError('peer.died', 'vm2 refuses the connection');
    const made = connection(this.clock, this.random, this.#breaks[this.connections.length]);
    this.connections.push(made);
    if (this.#listener === undefined) this.#backlog.push(made.destination);
    else this.#listener(made.destination);
    return made.source;
  }

  async accept(timeoutMs: number): Promise<Channel<DestinationMessage, SourceMessage>> {
    const waiting = this.#backlog.shift();
    if (waiting !== undefined) return waiting;
    const { promise, resolve, reject } = Promise.withResolvers<Channel<DestinationMessage, SourceMessage>>();
    this.#listener = (channel) => {
      this.#listener = undefined;
      resolve(channel);
    };
    const listener = this.#listener;
    this.clock.startTimer(timeoutMs, () => {
      if (this.#listener === listener) this.#listener = undefined;
      reject(new ComicranError('deadline', 'nobody came'));
    });
    return promise;
  }

  /** The end of a daemon, as kernel and network see it. */
  daemonEnded(side: 'source' | 'destination', silently: boolean, life: Life): void {
    life.end();
    for (const made of this.connections) made.vanish(side, silently);
    if (side === 'destination') {
      this.listening = false;
      this.#listener = undefined;
      this.#backlog.length = 0;
    }
    (side === 'source' ? this.source : this.destination).daemonEnded();
  }

  /** The end of a whole machine: nobody is told of it. */
  machineEnded(side: 'source' | 'destination', life: Life): void {
    this.daemonEnded(side, true, life);
    (side === 'source' ? this.source : this.destination).endProcess();
  }
}
