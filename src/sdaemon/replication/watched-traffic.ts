/** What goes into the process of a sandbox here and what comes out of it, while it is replicated. */

import { ComicranError } from '../../base/errors.ts';
import type { LogEntry } from '../../base/traffic-log.ts';
import { INSIDE_LINK } from '../../jailor/naming.ts';
import { POLL } from '../../linux/file-descriptors.ts';
import { receiveMemory } from '../../linux/socket-memory.ts';
import type { CarriedDatagram, LogCount, SourcePackets, SourceTraffic } from '../../migration/ports.ts';
import { EgressCut } from '../../replication/egress-cut.ts';
import { checkEligible } from '../../replication/eligibility.ts';
import { TrafficTap } from '../../replication/tap.ts';
import { leadAway } from '../dataplane/leaving-route.ts';
import { closeSockets, openUdpSockets, type ProcessSocket } from '../dataplane/process-sockets.ts';
import { raiseReceiveBuffers } from '../dataplane/receive-buffers.ts';
import type { Readiness } from '../readiness.ts';
import { describeProcess } from './describe-process.ts';
import { LoopbackCounter } from './loopback-counter.ts';
import { datagramOf } from './straggler.ts';

export type WatchedSandbox = {
  /** Of the process, as this machine sees it. */
  readonly pid: number;
  /** IPv4 address of the sandbox, and the machine's end of its link. */
  readonly address: string;
  readonly machineFiles: readonly string[];
  readonly linkName: string;
  /** The process has ended, with all its threads: nothing comes out of it any more. */
  readonly hasEnded: () => boolean;
};

/** From when the network leads to the destination until this machine does: what is on its way here comes in its order. */
const SETTLING_MS = 50;
/** Behind that: the last that was on its way. A virtual CPU may have stood meanwhile. */
const LAST_QUIET_MS = 5;
/** Twice what a full receive queue lasts at 20,000 datagrams a second. */
const TURN_OVER_MS = 4_000;
/** Entries of one look. */
const BATCH = 512;

/** In the worker of the migration. Both ports are one thing: what comes behind the end of the log is drained. */
export class WatchedTraffic implements SourceTraffic, SourcePackets {
  readonly #sandbox: WatchedSandbox;
  readonly #readiness: Readiness;
  #sockets: ProcessSocket[] = [];
  #tap: TrafficTap | undefined;
  #cut: EgressCut | undefined;
  #loopback: LoopbackCounter | undefined;

  constructor(sandbox: WatchedSandbox, readiness: Readiness) {
    this.#sandbox = sandbox;
    this.#readiness = readiness;
  }

  check(): void {
    checkEligible(describeProcess(this.#sandbox));
  }

  async start(): Promise<void> {
    const { pid, address } = this.#sandbox;
    this.check();
    this.#loopback = new LoopbackCounter(pid);
    raiseReceiveBuffers(pid);
    this.#sockets = openUdpSockets(pid);
    this.#cut = new EgressCut({ pid }, INSIDE_LINK);
    this.#cut.prepare();
    this.#tap = TrafficTap.open({ pid, linkName: INSIDE_LINK, address, sockets: this.#sockets });
    await this.#turnOver();
  }

  /**
   * Until no socket holds anything any more that came before the tap was there: such a datagram could not be found again
   * in what the tap has seen. Where a socket is never seen empty, what it held is taken to have been read in time.
   */
  async #turnOver(): Promise<void> {
    const untilMs = this.#readiness.nowMs() + TURN_OVER_MS;
    const old = new Set(this.#sockets);
    while (old.size > 0 && this.#readiness.nowMs() < untilMs) {
      for (const socket of old) if (receiveMemory(socket.descriptor).usedBytes === 0) old.delete(socket);
      // What has come meanwhile is taken out of the tap.
      this.#opened.read(BATCH);
      if (old.size > 0) await this.#readiness.turn();
    }
  }

  /** While the process stands still for its snapshot. */
  readonly mark = (): void => {
    this.#opened.mark(this.#sockets);
  };

  read(maxEntries: number): readonly LogEntry[] {
    return this.#opened.read(maxEntries);
  }

  async wait(timeoutMs: number): Promise<void> {
    if (this.#tap === undefined) return;
    await this.#readiness.wait(this.#tap.descriptor, POLL.IN, timeoutMs);
  }

  prepareCut(): void {
    const { pid, hasEnded } = this.#sandbox;
    if (hasEnded()) throw new ComicranError('process.gone', `process ${pid} has ended`);
    this.#cut?.calibrate();
  }

  cut(): void {
    this.#unlessEnded((cut) => cut.cut());
  }

  uncut(): void {
    this.#cut?.restore();
  }

  isHalfOut(): boolean {
    this.#settle();
    return this.#opened.isHalfOut;
  }

  async letOut(): Promise<void> {
    this.#cut?.restore();
    while (this.#cut?.isEmpty === false) await this.#readiness.turn();
    this.#cut?.cut();
    this.#settle();
  }

  #settle(): void {
    this.#unlessEnded((cut) => cut.settle());
  }

  /** Of a process that has ended the link may have gone, too: nothing leaves it. */
  #unlessEnded(act: (cut: EgressCut) => void): void {
    try {
      if (this.#cut !== undefined) act(this.#cut);
    } catch (thrown) {
      if (!this.#sandbox.hasEnded()) throw thrown;
    }
  }

  finish(): LogCount {
    const { address } = this.#sandbox;
    checkEligible({ sockets: [], address, loopbackPackets: this.#loopback?.packets() ?? 0 });
    return this.#opened.finish();
  }

  async drain(
    deliver: (datagram: CarriedDatagram) => void,
    timeoutMs: number,
    led = Promise.resolve(),
  ): Promise<{ readonly dropped: number }> {
    const tap = this.#opened;
    const { address, linkName } = this.#sandbox;
    let ledAtMs = Number.POSITIVE_INFINITY;
    void led.then(() => {
      ledAtMs = this.#readiness.nowMs();
    });
    let isLedAway = false;
    for (;;) {
      const entries = this.read(BATCH);
      for (const entry of entries) {
        const datagram = entry.kind === 'input' ? datagramOf(entry) : undefined;
        if (datagram !== undefined) deliver(datagram);
      }
      const sinceLedMs = this.#readiness.nowMs() - ledAtMs;
      if (isLedAway && sinceLedMs >= timeoutMs) break;
      // Not before: the network still leads packets here, and what is sent back to it would only come again.
      // Nor when it is quiet: a client on this machine asks on until its requests are led away, too.
      if (!isLedAway && sinceLedMs >= Math.min(SETTLING_MS, timeoutMs)) {
        leadAway(address, linkName);
        isLedAway = true;
        continue;
      }
      const quietMs = isLedAway ? LAST_QUIET_MS : Math.min(SETTLING_MS, SETTLING_MS - sinceLedMs);
      if (entries.length > 0 || (await this.#readiness.wait(tap.descriptor, POLL.IN, quietMs))) continue;
      if (isLedAway) break;
    }
    return { dropped: tap.lostFrames };
  }

  /** May be repeated. The cut stays as it is. */
  close(): void {
    if (this.#tap !== undefined) this.#readiness.forget(this.#tap.descriptor);
    this.#tap?.close();
    this.#cut?.close();
    this.#loopback?.close();
    closeSockets(this.#sockets);
    this.#tap = undefined;
    this.#cut = undefined;
    this.#loopback = undefined;
    this.#sockets = [];
  }

  get #opened(): TrafficTap {
    if (this.#tap === undefined) throw new Error('traffic that nobody watches');
    return this.#tap;
  }
}
