/**
 * A link of the lab that loses, doubles and swaps frames, or is cut: this kernel has no netem. It takes the place of the
 * link between the SDN node and a machine, so that everything crosses it: requests, the daemons' calls, migrations.
 *
 *     sdn (vm1) ──── near │ forwarder │ far ──── eth0 vm1
 *
 * The SDN node's end stays as it is, with its address and routes; the machine gets a new end with the same address.
 */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { labLayout } from '../../src/lab/layout.ts';
import { switchOffloadsOff } from '../../src/linux/ethtool.ts';
import { addNamedNetns, deleteNamedNetns, inNetnsOf, setNetSysctl } from '../../src/linux/netns.ts';
import {
  type Counts,
  CUT,
  DIRECTIONS,
  type Direction,
  type Faults,
  KINDS,
  type Kind,
  LinkTable,
  NO_FAULTS,
} from './rough-link-plan.ts';
import type { RoughLinkData } from './rough-link-thread.ts';

/** As the lab's nodes are called: other labs may have such a link at the same time. */
const NETNS = labLayout().hub.replace(/sdn$/, 'link');
const THREAD = new URL('./rough-link-thread.ts', import.meta.url);

const ip = (...words: string[]): string => execFileSync('ip', words, { encoding: 'utf8' });

/** Puts the namespace of the forwarder in between. */
function insert(node: string): void {
  const layout = labLayout();
  const { near, far, gateway, prefixLength } = layout.links.find((link) => link.node === node)!;
  const machine = layout.nodes.find(({ name }) => name === node)!.netns;
  const [device] = JSON.parse(ip('-n', machine, '-j', 'link', 'show', far.link)) as { address: string }[];
  addNamedNetns(NETNS);
  inNetnsOf({ name: NETNS }, () => {
    for (const scope of ['all', 'default']) setNetSysctl(`ipv6/conf/${scope}/disable_ipv6`, 1);
  });
  ip('-n', machine, 'link', 'set', far.link, 'netns', NETNS, 'name', 'near');
  // With the address that the SDN node's neighbour table has.
  const peer = ['peer', 'name', far.link, 'address', device!.address, 'netns', machine];
  ip('-n', NETNS, 'link', 'add', 'far', 'type', 'veth', ...peer);
  // A frame is a packet as it would be on a wire, with its checksum.
  inNetnsOf({ name: layout.hub }, () => switchOffloadsOff(near.link));
  inNetnsOf({ name: machine }, () => switchOffloadsOff(far.link));
  for (const end of ['near', 'far']) {
    inNetnsOf({ name: NETNS }, () => switchOffloadsOff(end));
    ip('-n', NETNS, 'link', 'set', end, 'up');
  }
  ip('-n', machine, 'addr', 'add', `${far.address}/${prefixLength}`, 'dev', far.link);
  ip('-n', machine, 'link', 'set', far.link, 'up');
  ip('-n', machine, 'route', 'add', 'default', 'via', gateway, 'dev', far.link);
}

export class RoughLink {
  readonly #table = new LinkTable();
  readonly #worker: Worker;

  private constructor(seed: number) {
    const workerData: RoughLinkData = { netns: NETNS, near: 'near', far: 'far', memory: this.#table.memory, seed };
    this.#worker = new Worker(THREAD, { workerData, trackUnmanagedFds: false });
  }

  /**
   * In place of the link to a machine of a lab that is up, on which nothing runs yet. The caller closes it, when the lab
   * has been taken down. @param seed of the faults: the same ones in the same order of frames.
   */
  static async to(node: string, seed: number): Promise<RoughLink> {
    insert(node);
    const link = new RoughLink(seed);
    await Promise.race([once(link.#worker, 'message'), once(link.#worker, 'exit')]);
    return link;
  }

  set(kinds: readonly Kind[], faults: Faults, directions: readonly Direction[] = DIRECTIONS): void {
    for (const kind of kinds) for (const direction of directions) this.#table.setFaults(direction, kind, faults);
  }

  /** Nothing passes any more. @param directions one of them: words arrive, answers do not. */
  cut(directions: readonly Direction[] = DIRECTIONS): void {
    this.set(KINDS, CUT, directions);
  }

  heal(): void {
    this.set(KINDS, NO_FAULTS);
  }

  counts(direction: Direction, kind: Kind): Counts {
    return this.#table.counts(direction, kind);
  }

  /** Both directions of a kind together. */
  sum(kind: Kind): Counts {
    const [a, b] = [this.counts('in', kind), this.counts('out', kind)];
    const { passed, lost, duplicated, reordered } = a;
    return {
      passed: passed + b.passed,
      lost: lost + b.lost,
      duplicated: duplicated + b.duplicated,
      reordered: reordered + b.reordered,
    };
  }

  async close(): Promise<void> {
    const ended = once(this.#worker, 'exit');
    this.#table.end();
    await ended;
    deleteNamedNetns(NETNS);
  }
}
