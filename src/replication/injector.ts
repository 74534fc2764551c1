/** The source's input into the destination's sandbox, in the order of the log, no faster than its sockets have room. */
import { performance } from 'node:perf_hooks';
import { ComicranError } from '../base/errors.ts';
import { ETHER_TYPE, encodeFrame } from '../base/packets/ethernet.ts';
import type { InputEntry } from '../base/traffic-log.ts';
import { FrameSender } from '../linux/packet-socket.ts';
import { receiveMemory } from '../linux/socket-memory.ts';
import { Queue } from './flow-table.ts';
import type { WatchedSocket } from './marks.ts';

/** Inputs that wait here, and their bytes, at most. */
const MAX_WAITING = 1 << 20;
const MAX_WAITING_BYTES = 256 << 20;
/** Frames of one step: the receiving CPU's backlog holds 1,000 (net.core.netdev_max_backlog). */
const STEP_FRAMES = 256;
/** What a frame may still be on its way for, between the link and its socket. */
const IN_FLIGHT_MS = 2;
/** What a frame takes of a receive queue beside its bytes, and twice those: the kernel rounds up. */
const FRAME_OVERHEAD_BYTES = 1024;

type InjectionTarget = {
  /** Index of the VM's end of the sandbox's link. */
  readonly link: number;
  readonly sandboxMac: Uint8Array;
  readonly gatewayMac: Uint8Array;
};

export class InputInjector {
  readonly #target: InjectionTarget;
  readonly #sender: FrameSender;
  readonly #now: () => number;
  readonly #waiting = new Queue<InputEntry>();
  /** Frames of the first one that have gone. */
  #framesGone = 0;
  #waitingBytes = 0;
  #next = 0;
  #injected = 0;
  #sockets: readonly { readonly descriptor: number; readonly dropsBefore: number }[] | undefined;
  #inFlightBytes = 0;
  #inFlightSince = 0;

  /** In the VM's network namespace. The caller closes it. @param now milliseconds, of a clock that never steps */
  constructor(target: InjectionTarget, now: () => number = () => performance.now()) {
    this.#target = target;
    this.#now = now;
    this.#sender = new FrameSender(target.link, { bypass: true });
  }

  /** Datagrams that have been injected. */
  get injected(): number {
    return this.#injected;
  }

  /** Datagrams that wait for room, or for the sockets. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * From now on there are sockets that take input: those of the restored process, which need not run. Where it makes
   * others later, they are to be told of by calling this again. They stay the caller's.
   */
  attach(sockets: readonly WatchedSocket[]): void {
    this.#sockets = sockets.map(({ descriptor }) => ({ descriptor, dropsBefore: receiveMemory(descriptor).drops }));
  }

  /** @throws ComicranError peer.protocol: not the next one; replication.lagging: too many wait */
  add(entry: InputEntry): void {
    if (entry.index !== this.#next)
      throw new ComicranError('peer.protocol', `input ${entry.index} came where ${this.#next} was next`);
    this.#next++;
    this.#waitingBytes += bytesOf(entry);
    if (this.waiting >= MAX_WAITING || this.#waitingBytes > MAX_WAITING_BYTES)
      throw new ComicranError('replication.lagging', `the copy is ${this.waiting} requests behind`);
    this.#waiting.push(entry);
  }

  /**
   * Injects what there is room for now. @returns frames that went
   * @throws ComicranError replication.overrun: a socket of the copy has dropped something
   */
  step(): number {
    if (this.#sockets === undefined || this.waiting === 0) return 0;
    let room = this.#room();
    let frames = 0;
    const { sandboxMac, gatewayMac } = this.#target;
    while (room > 0 && frames < STEP_FRAMES) {
      const entry = this.#waiting.peek();
      if (entry === undefined) break;
      const frame = entry.frames[this.#framesGone];
      if (frame === undefined) {
        this.#done(entry);
        continue;
      }
      if (!this.#sender.trySend(encodeFrame(sandboxMac, gatewayMac, ETHER_TYPE.IPV4, frame))) break;
      this.#framesGone++;
      frames++;
      const bytes = 2 * frame.length + FRAME_OVERHEAD_BYTES;
      room -= bytes;
      this.#inFlightBytes += bytes;
      if (this.#framesGone === entry.frames.length) this.#done(entry);
    }
    if (frames > 0) this.#inFlightSince = this.#now();
    return frames;
  }

  #done(entry: InputEntry): void {
    this.#framesGone = 0;
    this.#waitingBytes -= bytesOf(entry);
    this.#injected++;
    this.#waiting.shift();
  }

  /** Bytes that may go now: half of the smallest queue is left free for what is on its way. */
  #room(): number {
    if (this.#now() - this.#inFlightSince > IN_FLIGHT_MS) this.#inFlightBytes = 0;
    let room = Number.POSITIVE_INFINITY;
    for (const { descriptor, dropsBefore } of this.#sockets ?? []) {
      const { usedBytes, limitBytes, drops } = receiveMemory(descriptor);
      if (drops !== dropsBefore) {
        const lost = (drops - dropsBefore) >>> 0;
        throw new ComicranError('replication.overrun', `a queue of the copy has dropped ${lost} datagrams`);
      }
      room = Math.min(room, limitBytes / 2 - usedBytes);
    }
    return room - this.#inFlightBytes;
  }

  /** What has been dropped by the copy's queues since they are known. @throws ComicranError replication.overrun */
  checkDrops(): void {
    this.#room();
  }

  close(): void {
    this.#sender.close();
  }
}

const bytesOf = ({ frames }: InputEntry): number => frames.reduce((sum, { length }) => sum + length, 0);
