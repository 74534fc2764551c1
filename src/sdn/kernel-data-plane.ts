import { readdirSync } from 'node:fs';
import { ComicranError, messageOf } from '../base/errors.ts';
import { ConntrackSocket } from '../linux/conntrack.ts';
import { ESRCH, KernelError } from '../linux/errno.ts';
import { setNetSysctl } from '../linux/netns.ts';
import { Nftables, NftablesError } from '../linux/nftables.ts';
import { deleteRoute, getLink, listRoutes, lookUpRoute, RouteSocket, replaceRoute } from '../linux/rtnetlink/index.ts';
import type { DataPlane, ServiceCount } from './data-plane.ts';
import {
  commandsFor,
  GUARDED_SET,
  MAKE_TABLE,
  PASSAGES_SET,
  parseCounts,
  parseGuarded,
  parsePassages,
  parseTranslations,
  REMOVE_TABLE,
  SERVED_SET,
  SERVICES_MAP,
  TABLE,
  UnexpectedTable,
} from './nft-ruleset.ts';
import {
  describeChange,
  type KernelChange,
  type KernelContent,
  passageKey,
  type SandboxRoute,
  serviceEndKey,
} from './plan.ts';

/** Marks the controller's routes (`proto` of ip-route(8)); nobody of /etc/iproute2/rt_protos has it. */
const ROUTE_PROTOCOL = 88;
/** No rule leads to it. */
const REHEARSAL_TABLE = 88;

const routeTo = ({ address, via }: SandboxRoute) =>
  replaceRoute({ destination: address, gateway: via, protocol: ROUTE_PROTOCOL });

/** The kernel's tables in the network namespace that the calling thread is in when this is made. */
export class KernelDataPlane implements DataPlane {
  readonly #routes = new RouteSocket();
  readonly #nftables = new Nftables();
  readonly #tracked = new ConntrackSocket();

  prepare(): void {
    setNetSysctl('ipv4/ip_forward', 1);
    // A sender and the sandbox's machine may be on one link: nobody is to be told of the short way, it changes.
    for (const link of readdirSync('/proc/sys/net/ipv4/conf')) setNetSysctl(`ipv4/conf/${link}/send_redirects`, 0);
    try {
      this.#makeTable();
    } catch (thrown) {
      if (!(thrown instanceof NftablesError || thrown instanceof UnexpectedTable)) throw thrown;
      this.#nftables.applyText('remove the table ip comicran', REMOVE_TABLE);
      this.#makeTable();
    }
  }

  #makeTable(): void {
    this.#nftables.applyText('make the table ip comicran', MAKE_TABLE);
    this.read();
    this.counts();
  }

  linkTo(address: string): string {
    const hint = 'The machine has to give the address that it has on a network of the sdn node.';
    try {
      const { gateway, type, link } = lookUpRoute(this.#routes, address);
      if (gateway === undefined && type === 'unicast' && link !== undefined) return getLink(this.#routes, link).name;
    } catch (cause) {
      if (!(cause instanceof KernelError)) throw cause;
      throw new ComicranError('vm.unreachable', `the sdn node has no route to ${address}`, { cause, hint });
    }
    throw new ComicranError('vm.unreachable', `${address} is not on a network of the sdn node`, { hint });
  }

  read(): KernelContent {
    const routes = listRoutes(this.#routes).filter(({ protocol }) => protocol === ROUTE_PROTOCOL);
    const translations = parseTranslations(this.#nftables.list({ map: SERVICES_MAP }) ?? []);
    const passages = parsePassages(this.#nftables.list({ set: PASSAGES_SET }) ?? [], Date.now());
    return {
      routes: new Map(routes.map(({ destination, gateway }) => [destination.replace(/\/32$/, ''), gateway ?? ''])),
      translations: new Map(translations.map((translation) => [serviceEndKey(translation), translation])),
      guarded: new Set(this.refused().keys()),
      passages: new Map(passages.map((passage) => [passageKey(passage), passage])),
    };
  }

  refused(): Map<string, bigint> {
    return parseGuarded(this.#nftables.list({ set: GUARDED_SET }) ?? []);
  }

  rehearse(route: SandboxRoute): void {
    const nowhere = { destination: route.address, gateway: route.via, table: REHEARSAL_TABLE };
    this.#routes.applyAll([replaceRoute(nowhere), deleteRoute(nowhere)]);
  }

  apply(change: KernelChange): void {
    this.#routes.applyAll(change.setRoutes.map(routeTo));
    const commands = commandsFor(change, Date.now());
    if (commands.length > 0) {
      this.#nftables.apply(describeChange({ ...change, setRoutes: [], removeRoutes: [] }).join(', '), commands);
      const ends = [...change.removeTranslations, ...change.addTranslations];
      if (ends.length > 0) this.#tracked.forgetFlowsTo(ends);
    }
    for (const destination of change.removeRoutes) {
      this.#routes.applyUnless(deleteRoute({ destination, protocol: ROUTE_PROTOCOL }), ESRCH);
    }
  }

  counts(): ServiceCount[] {
    return parseCounts(this.#nftables.list({ set: SERVED_SET }) ?? []);
  }

  flush(): void {
    if (this.#nftables.list({ table: TABLE }) !== undefined) {
      this.#nftables.applyText('remove the table ip comicran', REMOVE_TABLE);
    }
    const routes = listRoutes(this.#routes).filter(({ protocol }) => protocol === ROUTE_PROTOCOL);
    this.#routes.applyAll(
      routes.map(({ destination, metric }) =>
        deleteRoute({ destination, protocol: ROUTE_PROTOCOL, ...(metric === undefined ? {} : { metric }) }),
      ),
    );
  }

  close(): void {
    this.#routes.close();
    this.#nftables.close();
    this.#tracked.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** @throws ComicranError with what is missing, where the kernel or a library does not do. */
export function openKernelDataPlane(): KernelDataPlane {
  const dataPlane = new KernelDataPlane();
  try {
    dataPlane.prepare();
    return dataPlane;
  } catch (cause) {
    dataPlane.close();
    if (cause instanceof ComicranError) throw cause;
    throw new ComicranError('needs.kernel', `the tables of the sdn cannot be made: ${messageOf(cause)}`, {
      cause,
      hint: 'The sdn needs root, and a kernel with nftables (nat, sets, maps) and connection tracking.',
    });
  }
}
