/**
 * Cutting what a sandbox sends, in its own network namespace and before the tap: a cut further out could eat a packet that
 * the tap has seen already, and nobody would send it.
 */
import { EEXIST, ESRCH } from '../linux/errno.ts';
import { closeFd, inNetns, openNetns } from '../linux/netns.ts';
import {
  type Change,
  deleteRoute,
  getLink,
  listRoutes,
  prependRoute,
  type Route,
  RouteSocket,
} from '../linux/rtnetlink/index.ts';

const MAIN_TABLE = 254;
/** Who has put the cut there (`proto` of ip-route(8)), so that a daemon that starts again knows it. */
const PROTOCOL = 0xc0;
/** Where nobody sends to (RFC 1112): for going through the code. */
const NOWHERE = '240.0.0.1';
const WARM_ROUNDS = 30;

const blackhole = ({ destination, metric }: Pick<Route, 'destination' | 'metric'>): Route => ({
  destination,
  type: 'blackhole',
  protocol: PROTOCOL,
  ...(metric === undefined ? {} : { metric }),
});

export class EgressCut {
  readonly #routes: RouteSocket;
  readonly #cutting: readonly Change[];
  readonly #restoring: readonly Change[];

  /**
   * Notes which routes lead out; one that another daemon has cut counts. The caller closes it.
   * @param sandbox a process in the namespace. @param linkName the sandbox's own end.
   */
  constructor(sandbox: { readonly pid: number }, linkName: string) {
    const netns = openNetns(sandbox);
    try {
      this.#routes = inNetns(netns, () => new RouteSocket());
    } finally {
      closeFd(netns);
    }
    const { index } = getLink(this.#routes, linkName);
    const leading = listRoutes(this.#routes).filter(
      ({ link, type, table }) => link === index && type === 'unicast' && table === MAIN_TABLE,
    );
    this.#cutting = leading.map((route) => prependRoute(blackhole(route)));
    this.#restoring = leading.map((route) => deleteRoute(blackhole(route)));
    this.#warm();
  }

  /** Code that has run before runs several times as fast. */
  #warm(): void {
    const nowhere = blackhole({ destination: NOWHERE });
    for (let round = 0; round < WARM_ROUNDS; round++) {
      this.#routes.applyUnless(prependRoute(nowhere), EEXIST);
      this.#routes.applyUnless(deleteRoute(nowhere), ESRCH);
    }
  }

  /**
   * From now on nothing that is sent gets as far as the link; who sends is told EINVAL, unless it is stopped. May be
   * repeated. What is received is received as before.
   */
  cut(): void {
    for (const change of this.#cutting) this.#routes.applyUnless(change, EEXIST);
  }

  /** As it was before. May be called without a cut, and more than once. */
  restore(): void {
    for (const change of this.#restoring) this.#routes.applyUnless(change, ESRCH);
  }

  /** Changes nothing. */
  close(): void {
    this.#routes.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
