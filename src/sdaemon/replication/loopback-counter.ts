/** Counts what crosses the loopback device of a sandbox: input that nobody watches. */
import { closeFd, inNetns, openNetns } from '../../linux/netns.ts';
import { LinkCounter } from '../../linux/sysfs.ts';

/** Holds the network namespace: it can be asked also when the process has ended, and the sandbox been taken down. */
export class LoopbackCounter {
  readonly #received: LinkCounter;
  readonly #before: number;

  /** Counts from now on. The caller closes it. @param pid of a process in the namespace */
  constructor(pid: number) {
    const netns = openNetns({ pid });
    try {
      this.#received = inNetns(netns, () => new LinkCounter('lo', 'rx_packets'));
    } finally {
      closeFd(netns);
    }
    this.#before = this.#received.read();
  }

  /** Packets since it was made. */
  packets(): number {
    return this.#received.read() - this.#before;
  }

  close(): void {
    this.#received.close();
  }
}
