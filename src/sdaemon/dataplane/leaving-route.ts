/** The route to a sandbox that has left, on the VM that it left. */
import { ESRCH } from '../../linux/errno.ts';
import { deleteRoute, findLink, RouteSocket } from '../../linux/rtnetlink/index.ts';
import { uplinks } from './arrival-route.ts';

/**
 * Takes the sandbox's route away, so that what is still sent here goes back to the sdn node, and from there to where the
 * sandbox is now. Only when the other machine owns: until then the sdn node would send it here again. Where this VM has
 * no other way, the route stays and the sockets of the stopped process go on collecting. In the network namespace of the
 * calling thread.
 */
export function leadAway(address: string, linkName: string): void {
  using routes = new RouteSocket();
  const link = findLink(routes, linkName);
  if (link === undefined || uplinks(routes).length === 0) return;
  routes.applyUnless(deleteRoute({ destination: address, link: link.index }), ESRCH);
}
