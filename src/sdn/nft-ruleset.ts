/** The controller's nftables table: as text, as commands, and read back. No kernel here. */
import type { Protocol } from '../base/sandbox-config.ts';
import type { NftObject } from '../linux/nftables.ts';
import type { ServiceCount } from './data-plane.ts';
import type { KernelChange, Passage, ServiceEnd, Translation } from './plan.ts';

export const TABLE = { family: 'ip', name: 'comicran' } as const;
const IN_TABLE = { family: TABLE.family, table: TABLE.name } as const;
export const SERVICES_MAP = { ...IN_TABLE, name: 'services' } as const;
export const SERVED_SET = { ...IN_TABLE, name: 'served' } as const;
export const GUARDED_SET = { ...IN_TABLE, name: 'guarded' } as const;
export const PASSAGES_SET = { ...IN_TABLE, name: 'passages' } as const;

/**
 * Makes the table, or makes it right: what is in the map and the set stays. Requests are counted before they are
 * translated, packet by packet; the translation itself is asked once a flow, then connection tracking does it, for the
 * answers as well.
 *
 * What comes from a sandbox's address through a link that its route does not lead to is dropped, unless there is a passage.
 * A request that a machine sends back, because its sandbox has left, comes from a client that its link does not lead to. It
 * has been translated and is tracked already: as a flow of its own, it would clash with the one that it belongs to and be
 * given another port, and its answer would not come from the service's address. So it is not tracked again.
 * The guarded set is looked at last, so that its counters count what is dropped. Nothing here changes with the owner: the
 * kernel asks the route (fib of nft(8); Linux: net/ipv4/netfilter/nft_fib_ipv4.c).
 */
export const MAKE_TABLE = `
add table ip comicran
add map ip comicran services { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
add set ip comicran served { type ipv4_addr . inet_proto . inet_service; counter; }
add chain ip comicran count { type filter hook prerouting priority raw; policy accept; }
flush chain ip comicran count
add rule ip comicran count ip daddr . meta l4proto . th dport @served
add set ip comicran guarded { type ipv4_addr; counter; }
add set ip comicran passages { type ipv4_addr . ifname; flags timeout; }
add chain ip comicran validate { type filter hook prerouting priority -310; policy accept; }
flush chain ip comicran validate
add rule ip comicran validate fib saddr . iif oif missing ip saddr . iifname != @passages ip saddr @guarded drop
add rule ip comicran validate fib saddr . iif oif missing ip saddr . iifname != @passages ip daddr . meta l4proto . th dport != @served notrack
add chain ip comicran translate { type nat hook prerouting priority dstnat; policy accept; }
flush chain ip comicran translate
add rule ip comicran translate dnat to ip daddr . meta l4proto . th dport map @services
`;

/** For a table that is there in another form: nothing of it stays. */
export const REMOVE_TABLE = 'add table ip comicran\ndelete table ip comicran\n';

const keyOf = ({ address, protocol, port }: ServiceEnd): NftObject => ({ concat: [address, protocol, port] });

function removeCommands(end: ServiceEnd): NftObject[] {
  return [SERVICES_MAP, SERVED_SET].map((from) => ({ delete: { element: { ...from, elem: [keyOf(end)] } } }));
}

function addCommands(translation: Translation): NftObject[] {
  const target: NftObject = { concat: [translation.toAddress, translation.toPort] };
  return [
    // `create`, not `add`: an element that is there is a failure, never a silent agreement with something else.
    { create: { element: { ...SERVICES_MAP, elem: [[keyOf(translation), target]] } } },
    { create: { element: { ...SERVED_SET, elem: [keyOf(translation)] } } },
  ];
}

const guarded = (address: string): NftObject => ({ element: { ...GUARDED_SET, elem: [address] } });

function passage({ address, link }: Passage, seconds: number): NftObject {
  const val = { concat: [address, link] };
  return { element: { ...PASSAGES_SET, elem: [{ elem: { val, timeout: seconds } }] } };
}

/** Whether it is there or its time is over: afterwards it is not. Removing what is not there would fail. */
const endPassage = (which: Passage): NftObject[] => [{ add: passage(which, 1) }, { delete: passage(which, 1) }];

const secondsUntil = (untilMs: number, nowMs: number): number => Math.max(1, Math.ceil((untilMs - nowMs) / 1000));

/** Everything of a change but the routes, as one transaction. @param nowMs Unix time. */
export function commandsFor(change: KernelChange, nowMs: number): NftObject[] {
  return [
    ...change.removeTranslations.flatMap(removeCommands),
    ...change.addTranslations.flatMap(addCommands),
    ...change.guard.map((address) => ({ add: guarded(address) })),
    ...change.unguard.map((address) => ({ delete: guarded(address) })),
    ...change.removePassages.flatMap(endPassage),
    // The time of one that is there does not change by adding it again.
    ...change.setPassages.flatMap((which) => [
      ...endPassage(which),
      { add: passage(which, secondsUntil(which.untilMs, nowMs)) },
    ]),
  ];
}

/** A listing that is not of the form that {@link MAKE_TABLE} gives. */
export class UnexpectedTable extends Error {
  override readonly name = 'UnexpectedTable';
}

function unexpected(part: unknown): never {
  throw new UnexpectedTable(`the table ip comicran holds something unexpected: ${JSON.stringify(part)}`);
}

function isObject(value: unknown): value is NftObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The parts of `{ concat: [...] }`. */
function concatenated(value: unknown, length: number): unknown[] {
  const parts = isObject(value) ? value['concat'] : undefined;
  if (!Array.isArray(parts) || parts.length !== length) return unexpected(value);
  return parts;
}

/** Where a machine has no /etc/protocols (package netbase), nftables tells their numbers. */
const PROTOCOLS: ReadonlyMap<unknown, Protocol> = new Map<unknown, Protocol>([
  ['udp', 'udp'],
  [17, 'udp'],
  ['tcp', 'tcp'],
  [6, 'tcp'],
]);

function parseKey(value: unknown): ServiceEnd {
  const [address, protocol, port] = concatenated(value, 3);
  if (typeof address !== 'string' || typeof port !== 'number') return unexpected(value);
  return { address, protocol: PROTOCOLS.get(protocol) ?? unexpected(value), port };
}

/** The `elem` list of the map or set that a listing holds. */
function elementsOf(listing: readonly NftObject[], kind: 'map' | 'set', name: string): unknown[] {
  const holder = listing.map((object) => object[kind]).find((object) => isObject(object) && object['name'] === name);
  if (!isObject(holder)) return unexpected(listing);
  const elements = holder['elem'] ?? [];
  return Array.isArray(elements) ? elements : unexpected(elements);
}

/** @param listing of {@link SERVICES_MAP}. @throws UnexpectedTable */
export function parseTranslations(listing: readonly NftObject[]): Translation[] {
  return elementsOf(listing, 'map', SERVICES_MAP.name).map((element) => {
    if (!Array.isArray(element)) return unexpected(element);
    const [toAddress, toPort] = concatenated(element[1], 2);
    if (typeof toAddress !== 'string' || typeof toPort !== 'number') return unexpected(element);
    return { ...parseKey(element[0]), toAddress, toPort };
  });
}

/** @param listing of {@link SERVED_SET}. @throws UnexpectedTable */
export function parseCounts(listing: readonly NftObject[]): ServiceCount[] {
  return elementsOf(listing, 'set', SERVED_SET.name).map((element) => {
    const inner = isObject(element) ? element['elem'] : undefined;
    const counter = isObject(inner) ? inner['counter'] : undefined;
    if (!isObject(inner) || !isObject(counter)) return unexpected(element);
    const { packets, bytes } = counter;
    if (typeof packets !== 'number' || typeof bytes !== 'number') return unexpected(counter);
    return { ...parseKey(inner['val']), packets: BigInt(packets), bytes: BigInt(bytes) };
  });
}

/** @param listing of {@link GUARDED_SET}. @returns the packets refused, by address. @throws UnexpectedTable */
export function parseGuarded(listing: readonly NftObject[]): Map<string, bigint> {
  return new Map(
    elementsOf(listing, 'set', GUARDED_SET.name).map((element) => {
      const inner = isObject(element) ? element['elem'] : undefined;
      const counter = isObject(inner) ? inner['counter'] : undefined;
      if (!isObject(inner) || !isObject(counter)) return unexpected(element);
      const address = inner['val'];
      const { packets } = counter;
      if (typeof address !== 'string' || typeof packets !== 'number') return unexpected(element);
      return [address, BigInt(packets)] as const;
    }),
  );
}

/** @param listing of {@link PASSAGES_SET}. @param nowMs Unix time. @throws UnexpectedTable */
export function parsePassages(listing: readonly NftObject[], nowMs: number): Passage[] {
  return elementsOf(listing, 'set', PASSAGES_SET.name).map((element) => {
    const inner = isObject(element) ? element['elem'] : undefined;
    if (!isObject(inner)) return unexpected(element);
    const [address, link] = concatenated(inner['val'], 2);
    const { expires } = inner;
    if (typeof address !== 'string' || typeof link !== 'string' || typeof expires !== 'number')
      return unexpected(element);
    return { address, link, untilMs: nowMs + expires * 1000 };
  });
}
