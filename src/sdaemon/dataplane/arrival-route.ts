/**
 * The route to a sandbox that arrives, on the VM where it arrives. While the sandbox may still run elsewhere, only what
 * the network sends here (the sdn's route has changed) is led to its link. What starts on this VM, in its other sandboxes
 * too, goes to the sdn node as before, which knows where the sandbox is.
 */
import { ENOENT, ESRCH } from '../../linux/errno.ts';
import {
  addRule,
  deleteRoute,
  deleteRule,
  getLink,
  listRoutes,
  type RouteSocket,
  type Rule,
  replaceRoute,
} from '../../linux/rtnetlink/index.ts';

/** Routing table of sandboxes that arrive, asked before the main one (32766). */
const TABLE = 0xc0de;
const PRIORITY = 30_000;

const ruleOf = (address: string): Rule => ({ table: TABLE, priority: PRIORITY, destination: address });

/** Names of the devices behind which the rest of the network is. */
export function uplinks(routes: RouteSocket): string[] {
  const links = listRoutes(routes)
    .filter(({ destination, type, table }) => destination === 'default' && type === 'unicast' && table === 254)
    .flatMap(({ link }) => (link === undefined ? [] : [link]));
  return Array.from(new Set(links), (link) => getLink(routes, link).name);
}

/** Leads what comes in from the network. Without a default route everything is led: there is nobody to ask. */
export function leadArriving(routes: RouteSocket, address: string, link: number): void {
  const incoming = uplinks(routes);
  if (incoming.length === 0) {
    leadAll(routes, address, link);
    return;
  }
  withdrawArriving(routes, address);
  routes.apply(replaceRoute({ destination: address, link, table: TABLE }));
  for (const name of incoming) routes.apply(addRule({ ...ruleOf(address), incoming: name }));
}

/** The sandbox is here: leads everything. */
export function leadAll(routes: RouteSocket, address: string, link: number): void {
  routes.apply(replaceRoute({ destination: address, link }));
  withdrawArriving(routes, address);
}

/** Leads nothing any more. */
export function leadNothing(routes: RouteSocket, address: string, link: number | undefined): void {
  // The routes of a link that has gone went with it.
  if (link !== undefined) routes.applyUnless(deleteRoute({ destination: address, link }), ESRCH);
  withdrawArriving(routes, address);
}

function withdrawArriving(routes: RouteSocket, address: string): void {
  while (routes.applyUnless(deleteRule(ruleOf(address)), ENOENT));
  routes.applyUnless(deleteRoute({ destination: address, table: TABLE }), ESRCH);
}
