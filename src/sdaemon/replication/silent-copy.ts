/** The copy of a process here that is fed with the original's input and not heard until it is the owner. */
import { ComicranError } from '../../base/errors.ts';
import { describeEnd, hintOfEnd } from '../../base/process-end.ts';
import type { LogEntry } from '../../base/traffic-log.ts';
import { INSIDE_LINK } from '../../jailor/naming.ts';
import { KernelError } from '../../linux/errno.ts';
import { POLL } from '../../linux/file-descriptors.ts';
import type { NetnsRef } from '../../linux/netns.ts';
import type { ProcessWatch } from '../../linux/process-watch.ts';
import { FirstPlace } from '../../linux/urgency.ts';
import type { DestinationReplay, Difference, ReplayStatus } from '../../migration/ports.ts';
import { Replay } from '../../replication/replay.ts';
import { explainKernelError } from '../../restore/failures.ts';
import { closeSockets, openUdpSockets, type ProcessSocket } from '../dataplane/process-sockets.ts';
import { raiseReceiveBuffers } from '../dataplane/receive-buffers.ts';
import type { Readiness } from '../readiness.ts';

export type CopiedSandbox = {
  /** PID 1 of the skeleton, as this machine sees it. */
  readonly initPid: number;
  /** The machine's end of the sandbox's link. */
  readonly link: string;
  readonly uncomparedPorts: readonly number[];
  /** Name of this machine. */
  readonly vm: string;
};

/** The network namespace of this program, in which the machine's end of the link is. */
const OWN_NETNS: NetnsRef = { pid: process.pid };
/** Steps in a row that had something to do; then others of the thread have their turn. */
const MAX_STEPS = 64;
/** Input waits for room that nothing announces. */
const ROOM_MS = 0.2;
/** Outputs that a copy which has caught up may still have to make. */
const LEVEL_OUTPUTS = 8;

export class SilentCopy implements DestinationReplay {
  readonly #readiness: Readiness;
  readonly #replay: Replay;
  readonly #vm: string;
  readonly #process: () => ProcessWatch;
  #sockets: ProcessSocket[] = [];
  #watch: ProcessWatch | undefined;
  #difference: Difference | undefined;
  /**
   * The cutover may come at any moment for a copy that has caught up, and then nobody answers until this thread has done its
   * part. One that is behind has too much to do for that: it would keep the copy itself from its CPU.
   */
  readonly #place = new FirstPlace();
  #ended = false;

  /**
   * Shuts the gate of the sandbox. The caller closes it.
   * @param process once it is complete; it stays the caller's, open until this is closed
   */
  constructor(
    { initPid, link, uncomparedPorts, vm }: CopiedSandbox,
    readiness: Readiness,
    process: () => ProcessWatch,
  ) {
    this.#readiness = readiness;
    this.#process = process;
    this.#vm = vm;
    this.#replay = new Replay({
      ...{ pid: initPid, linkName: INSIDE_LINK, vm: OWN_NETNS, vmLinkName: link, uncomparedPorts },
    });
  }

  /** The gate is shut since this was made; from now on there are sockets to be fed. */
  async shut(): Promise<void> {
    const watch = this.#process();
    this.#watch = watch;
    const { pid } = watch;
    try {
      raiseReceiveBuffers(pid);
      this.#sockets = openUdpSockets(pid);
      this.#replay.attach(this.#sockets);
    } catch (thrown) {
      this.#checkAlive();
      throw thrown instanceof KernelError ? explainKernelError('its copy cannot be fed', thrown) : thrown;
    }
  }

  play(entries: readonly LogEntry[]): void {
    for (const entry of entries) this.#replay.play(entry);
  }

  step(): ReplayStatus {
    for (let steps = 0; steps < MAX_STEPS && this.#replay.step(); steps++);
    const { injected, compared, passedOver, held, difference, waiting, expected } = this.#replay.status();
    if (waiting === 0 && expected <= LEVEL_OUTPUTS) this.#place.take();
    else this.#place.leave();
    if (difference !== undefined) {
      const { flow, index, source, destination } = difference;
      const { firstBytes: beginning, ...found } = destination;
      this.#difference ??= { flow, index, expected: source, found: { ...found, beginning } };
    } else {
      this.#checkAlive();
      this.#replay.check();
    }
    // The end of the log counts outputs of uncompared ports too.
    return { injected, compared: compared + passedOver, held, difference: this.#difference };
  }

  /** @throws ComicranError replication.ended. It is noticed at once: {@link wait} ends with it. */
  #checkAlive(): void {
    const end = this.#watch?.ended();
    if (end === undefined) return;
    throw new ComicranError('replication.ended', `its copy has ended at ${this.#vm}, ${describeEnd(end)}`, {
      hint: hintOfEnd(end, this.#vm),
    });
  }

  #descriptors(): readonly number[] {
    const { descriptors } = this.#replay;
    return this.#watch === undefined ? descriptors : [...descriptors, this.#watch.descriptor];
  }

  async wait(timeoutMs: number): Promise<void> {
    if (this.#ended) return;
    const watched = this.#descriptors().map((descriptor) => ({ descriptor, events: POLL.IN }));
    const soon = this.#replay.status().waiting > 0 ? ROOM_MS : timeoutMs;
    await this.#readiness.waitAny(watched, Math.min(soon, timeoutMs));
  }

  rest(): void {
    this.#place.leave();
  }

  release(): number {
    this.#checkAlive();
    return this.#replay.release();
  }

  open(): void {
    this.#replay.open();
    this.#place.leave();
  }

  async discard(): Promise<void> {
    this.#replay.discard();
  }

  /** May be repeated. A gate that is shut stays shut. */
  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#place.leave();
    for (const descriptor of this.#descriptors()) this.#readiness.forget(descriptor);
    this.#replay.close();
    closeSockets(this.#sockets);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
