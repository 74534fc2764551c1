/**
 * Links, addresses, routes, rules and neighbours over a NETLINK_ROUTE socket. Changes are data that a
 * {@link RouteSocket} applies, one by one or many in one send; lists are functions of the socket.
 *
 *     using socket = inNetns(netnsFd, () => new RouteSocket());
 *     socket.applyAll([setLink('lo', { up: true }), replaceRoute({ destination: 'default', gateway, link })]);
 */
export * from './addresses.ts';
export * from './filters.ts';
export * from './links.ts';
export * from './neighbours.ts';
export * from './queueing.ts';
export * from './routes.ts';
export * from './rules.ts';
export { type Change, RouteSocket } from './socket.ts';
