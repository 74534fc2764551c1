/**
 * The source's side of a replicated migration: watches the sandbox's end of its link, and makes the log.
 *
 *     open ── mark ── read, read, … ── (egress cut) finish ── read, read, … ── close
 *
 * - after `mark` the log begins; the process was stopped, so its queues and the tap's count say exactly where;
 * - after `finish` no output is missing from the log, and the kernel's own count confirms it; what comes in later are
 *   stragglers, which go to the destination in the same way.
 */
import { assert } from '../base/assert.ts';
import { ComicranError } from '../base/errors.ts';
import { ipv4Bytes } from '../base/ipv4.ts';
import type { LogEntry } from '../base/traffic-log.ts';
import { closeFd, inNetns, openNetns } from '../linux/netns.ts';
import { PacketTap } from '../linux/packet-tap.ts';
import { getLink, RouteSocket } from '../linux/rtnetlink/index.ts';
import { getAffinity, setAffinity, singleCpu } from '../linux/scheduling.ts';
import { SocketMarks, type WatchedSocket } from './marks.ts';
import { Sequencer } from './sequencer.ts';
import { checkLink } from './suitable-link.ts';

/** Frames of a second at 60,000 a second. */
const BUFFER_BYTES = 64 << 20;
/** Batches of frames that one read takes at most: they may come as fast as they are read. */
const MAX_BATCHES = 256;
/** Looks at the end until the kernel's count and what was read agree; more frames come in between, not for ever. */
const MAX_LOOKS = 10_000;

type TrafficTapOptions = {
  /** A process in the sandbox's network namespace. */
  readonly pid: number;
  /** The sandbox's own end of its link: `eth0`. */
  readonly linkName: string;
  /** Of the sandbox, dotted. */
  readonly address: string;
  /** The process's UDP sockets: what their queues drop from now on counts. They stay the caller's. */
  readonly sockets: readonly WatchedSocket[];
  readonly bufferBytes?: number;
};

export class TrafficTap {
  readonly #tap: PacketTap;
  readonly #cpu: number;
  readonly #marks: SocketMarks;
  readonly #sequencer: Sequencer;
  #marked = false;
  /** A mark that failed is told of by {@link read}: nothing is thrown while the process stands still. */
  #markFailure: unknown;
  /** Of a read: the log is of no use any more. */
  #failure: unknown;
  #dropsAtMark = 0;
  #finished = false;
  #outputsAtFinish = 0;

  private constructor(tap: PacketTap, cpu: number, options: TrafficTapOptions) {
    this.#tap = tap;
    this.#cpu = cpu;
    this.#sequencer = new Sequencer(ipv4Bytes(options.address).readUInt32BE(0));
    this.#marks = new SocketMarks(options.sockets);
  }

  /**
   * Begins to watch, some milliseconds at least before the mark. The caller closes it.
   * @throws ComicranError replication.unsuitable: names what the link is not
   */
  static open(options: TrafficTapOptions): TrafficTap {
    const netns = openNetns({ pid: options.pid });
    try {
      const tap = inNetns(netns, () => {
        using routes = new RouteSocket();
        const cpu = checkLink(routes, options.linkName, getAffinity(0));
        const { index, mtu } = getLink(routes, options.linkName);
        const packets = new PacketTap(index, { mtu, bufferBytes: options.bufferBytes ?? BUFFER_BYTES });
        try {
          return new TrafficTap(packets, cpu, options);
        } catch (thrown) {
          packets.close();
          throw thrown;
        }
      });
      tap.rehearse();
      return tap;
    } finally {
      closeFd(netns);
    }
  }

  /**
   * Does what {@link mark} and {@link finish} do, on a socket of this program's own: code that has just run is quick. Done
   * once when the tap is opened; before the mark only.
   */
  rehearse(): void {
    assert(!this.#marked, 'a rehearsal is before the mark');
    const affinity = getAffinity(0);
    this.#marks.warm(() => void this.#tap.count());
    setAffinity(0, singleCpu(this.#cpu));
    setAffinity(0, affinity);
  }

  /**
   * The CPU that receives for the sandbox: {@link mark} goes there and comes back. Where the thread that stops the process
   * is there already, that takes no time.
   */
  get cpu(): number {
    return this.#cpu;
  }

  /** Readable when frames wait. */
  get descriptor(): number {
    return this.#tap.descriptor;
  }

  /**
   * Where the log begins. To be called while the process stands still: nobody reads its sockets. It leaves them as they
   * were, and does not throw. As long as nothing has been read since, a later call replaces an earlier one.
   */
  mark(sockets: readonly WatchedSocket[]): void {
    this.#marked = true;
    this.#markFailure = undefined;
    const affinity = getAffinity(0);
    try {
      // On the CPU that receives for the sandbox no packet is half way between the tap and its socket when this thread runs.
      if (!setAffinity(0, singleCpu(this.#cpu))) throw elsewhere(this.#cpu);
      const { queued, dropped } = this.#tap.count();
      const marked = this.#marks.mark(sockets);
      // Between two looks packets come in: what a look has found may have come behind the first count.
      const { queued: lookedUntil } = this.#tap.count();
      if (dropped > 0 && marked.some(({ head }) => head !== undefined)) this.#markFailure = lostFrames(dropped);
      this.#dropsAtMark = dropped;
      this.#sequencer.mark({ frames: queued, lookedUntil, sockets: marked });
    } catch (thrown) {
      this.#markFailure ??= thrown;
    } finally {
      setAffinity(0, affinity);
    }
  }

  /**
   * Entries of the log since the mark, oldest first; none before it. To be called often before it too: what has come
   * since {@link open} is read here.
   * @throws ComicranError replication.overrun: a frame was lost, or the position cannot be found; the log is of no use
   *   then. sandbox.not-running: the link is gone, and {@link finish} has not been called
   */
  read(maxEntries: number): LogEntry[] {
    this.#throwFailure();
    try {
      for (let batches = 0; batches < MAX_BATCHES && this.#sequencer.waiting < maxEntries; batches++)
        if (this.#readBatch() === 0) break;
      if (!this.#finished) this.#checkDrops();
      const entries = this.#sequencer.take(maxEntries);
      if (entries.length > 0) return entries;
    } catch (thrown) {
      this.#failure = thrown;
      throw thrown;
    }
    // That is no failure of the log: it is whole, and may be finished.
    if (!this.#finished && this.#tap.deviceGone)
      throw new ComicranError('sandbox.not-running', 'the link of the sandbox is gone', {
        hint: 'Its process has ended, or somebody has taken the link away: see the log of the sandbox.',
      });
    return [];
  }

  #throwFailure(): void {
    const failure = this.#failure ?? this.#markFailure;
    if (failure !== undefined) throw failure;
  }

  #readBatch(): number {
    return this.#tap.read((frame) => this.#sequencer.add(frame));
  }

  #checkDrops(): void {
    if (!this.#marked) return;
    this.#queued();
    this.#checkQueues();
  }

  /** Frames so far, all of them there. @throws ComicranError replication.overrun: some since the mark are not */
  #queued(): number {
    const { queued, dropped } = this.#tap.count();
    if (dropped > this.#dropsAtMark) throw lostFrames(dropped - this.#dropsAtMark);
    return queued;
  }

  /**
   * What the original has lost the copy would have had. An answer that shows it left after the loss: looked at between
   * the reading of an answer and its delivery, the loss is known before anybody takes it for a copy that differs.
   */
  #checkQueues(): void {
    const drops = this.#marks.drops();
    if (drops > 0)
      throw new ComicranError('replication.overrun', `full queues of the process have dropped ${drops} datagrams`);
  }

  /**
   * Ends the outputs of the log. To be called when its egress has been cut, and what had left before has been seen
   * ({@link EgressCut.settle}); or when it has ended, and its link may be gone.
   * @returns how many entries of each kind there are; {@link read} gives those that it has not given yet.
   * @throws ComicranError replication.overrun
   */
  finish(): { readonly inputs: number; readonly outputs: number } {
    assert(this.#marked && !this.#finished, 'a traffic tap that is finished has been marked, and once');
    this.#throwFailure();
    this.#drain();
    this.#checkQueues();
    const unfinished = this.#sequencer.unfinishedOutputs;
    if (unfinished > 0)
      throw new ComicranError('replication.overrun', `${unfinished} answers were not seen with all their fragments`);
    this.#finished = true;
    this.#outputsAtFinish = this.#sequencer.outputs;
    return { inputs: this.#sequencer.inputs, outputs: this.#sequencer.outputs };
  }

  /**
   * Whether an answer in fragments has left in part. Behind the cut: the others wait there, and only when they have
   * followed can the log be ended.
   */
  get isHalfOut(): boolean {
    while (this.#readBatch() > 0);
    return this.#sequencer.unfinishedOutputs > 0;
  }

  #drain(): void {
    for (let looks = 0; looks < MAX_LOOKS; looks++) {
      while (this.#readBatch() > 0);
      const queued = this.#queued();
      // After this nobody would notice that an output is missing: the kernel's count has to agree.
      if (queued === this.#sequencer.seen) {
        this.#sequencer.begin();
        return;
      }
      if (queued < this.#sequencer.seen) break;
    }
    throw new ComicranError('replication.overrun', 'the frames that were read are not those that the kernel counted');
  }

  /** Outputs that came after {@link finish}: more than none means that it was not cut off. */
  get outputsAfterFinish(): number {
    return this.#finished ? this.#sequencer.outputs - this.#outputsAtFinish : 0;
  }

  /** Frames that the tap had no room for, in all. After {@link finish} a lost one is a lost request. */
  get lostFrames(): number {
    return this.#tap.count().dropped;
  }

  /**
   * What full receive queues of the process have dropped since the mark: before {@link finish} it makes the log one of
   * another process, afterwards it is normal, since nobody reads any more.
   */
  socketDrops(): number {
    return this.#marks.drops();
  }

  /** May be repeated. */
  close(): void {
    this.#tap.close();
    this.#marks.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

const elsewhere = (cpu: number): ComicranError =>
  new ComicranError('replication.unsuitable', `this program may not run on CPU ${cpu} any more`);

const lostFrames = (count: number): ComicranError =>
  new ComicranError('replication.overrun', `${count} packets found no room where the migration watches`, {
    hint: 'Start the migration again when the machine has less to do, or use another mode.',
  });
