/**
 * Cutting off what a sandbox sends, between two of its packets: the hold before its own end of the link is closed. What it
 * sends from then on waits there, in order; the process notices nothing, and need not be stopped for it. The cut is before
 * the tap: one further out could eat a packet that the tap has seen already, and nobody would send it. It is the kernel's,
 * and outlives the program that made it.
 */
import { ComicranError } from '../base/errors.ts';
import { EgressHold, isHold, leftHold, openHoldLeftBehind } from '../linux/egress-hold.ts';
import { closeFd, inNetns, openNetns } from '../linux/netns.ts';
import { FrameSender } from '../linux/packet-socket.ts';
import { findDiscipline, getLink, type Link, RouteSocket } from '../linux/rtnetlink/index.ts';
import { sleepMicros } from '../linux/sleep.ts';
import { LinkCounter } from '../linux/sysfs.ts';

/** Looks at the counts of a link on which something is sent: one of them is at a moment in which nothing is on its way. */
const CALIBRATIONS = 30;
/** A CPU that is about to send a packet may belong to somebody else for a while. */
const SETTLE_MICROS = 50_000;
const SETTLE_PAUSE_MICROS = 5;

export class EgressCut {
  readonly #routes: RouteSocket;
  readonly #link: Link;
  readonly #sent: LinkCounter;
  readonly #dropped: LinkCounter;
  readonly #hold: EgressHold;
  readonly #opened: DisposableStack;
  /**
   * By how much the link's count is ahead of the hold's where nothing is between them: other senders go past the hold. A
   * look finds this or less, by what is between them.
   */
  #ahead: number | undefined;

  /**
   * One that another daemon has made counts. The caller closes it.
   * @param sandbox a process in the namespace. @param linkName the sandbox's own end.
   * @throws ComicranError replication.unsuitable: there is no hold before the link
   */
  constructor(sandbox: { readonly pid: number }, linkName: string) {
    const netns = openNetns(sandbox);
    using opened = new DisposableStack();
    const closing = <T extends { close(): void }>(one: T): T => opened.adopt(one, () => one.close());
    try {
      const open = <T>(make: () => T): T => inNetns(netns, make);
      this.#routes = closing(open(() => new RouteSocket()));
      this.#link = getLink(this.#routes, linkName);
      const discipline = findDiscipline(this.#routes, this.#link.index);
      if (discipline === undefined || !isHold(discipline)) throw withoutHold(linkName);
      const queued = closing(open(() => new FrameSender(this.#link.index, { bypass: false })));
      this.#sent = closing(open(() => new LinkCounter(linkName, 'tx_packets')));
      this.#dropped = closing(open(() => new LinkCounter(linkName, 'tx_dropped')));
      this.#hold = new EgressHold(this.#routes, this.#link, queued);
      this.#opened = opened.move();
    } finally {
      closeFd(netns);
    }
  }

  /** Looks how the counts of hold and link stand to each other, and makes {@link cut} quick. Not behind a cut. */
  prepare(): void {
    this.#hold.prepare();
    for (let look = 0; look < CALIBRATIONS; look++) this.calibrate();
  }

  /** One more look, at another time. Not behind a cut. */
  calibrate(): void {
    // In this order: what passes in between makes the difference smaller.
    const passed = this.#passedLink();
    const ahead = (passed - this.#leftHold()) | 0;
    this.#ahead = this.#ahead === undefined ? ahead : Math.max(this.#ahead, ahead);
  }

  /** From now on nothing that is sent leaves. May be repeated. What is received is received as before. */
  cut(): void {
    this.#hold.close();
  }

  /**
   * Behind {@link cut}: when it has returned, what had left before has got as far as the link, and so has been seen by who
   * watches it. That is so at once, unless another CPU is in the middle of it.
   * @throws ComicranError deadline
   */
  settle(): void {
    const left = this.#leftHold();
    const ahead = this.#ahead ?? 0;
    const untilMicros = nowMicros() + SETTLE_MICROS;
    while (((this.#passedLink() - left) | 0) < ahead) {
      if (nowMicros() > untilMicros)
        throw new ComicranError('deadline', `link ${this.#link.name} has not got all that was sent to it`);
      sleepMicros(SETTLE_PAUSE_MICROS);
    }
  }

  /** What waits leaves, in order, and what is sent from now on leaves at once. May be called without a cut, and repeated. */
  restore(): void {
    this.#hold.open();
  }

  /** Whether nothing waits behind {@link restore}. */
  get isEmpty(): boolean {
    return findDiscipline(this.#routes, this.#link.index)?.waitingPackets === 0;
  }

  /** Takes back what a program that has died has left cut off. Where nothing is cut off nothing changes. */
  static restoreAbandoned(sandbox: { readonly pid: number }, linkName: string): void {
    const netns = openNetns(sandbox);
    try {
      inNetns(netns, () => openHoldLeftBehind(linkName));
    } finally {
      closeFd(netns);
    }
  }

  /** Changes nothing. May be repeated. */
  close(): void {
    this.#opened.dispose();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #passedLink(): number {
    return (this.#sent.read() + this.#dropped.read()) | 0;
  }

  #leftHold(): number {
    return leftHold(this.#routes, this.#link.index);
  }
}

const nowMicros = (): number => Number(process.hrtime.bigint() / 1000n);

function withoutHold(linkName: string): ComicranError {
  return new ComicranError('replication.unsuitable', `link ${linkName} of the sandbox has no hold before it`, {
    hint: "Sandboxes get one at their start where the kernel has token buckets ('modprobe sch_tbf'): start it again.",
  });
}
