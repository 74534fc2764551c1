/**
 * Where the neighbours of a file go: a program's file that has been given a place of its own takes along what it names by a
 * path relative to itself.
 *
 *     /home/me/app/dist/server/main.js -> /srv/server/main.js        declared
 *     /home/me/app/dist                -> /srv                       what both have at the end taken off
 *     /home/me/app/node_modules/ws     -> /node_modules/ws           as far above /srv as it is above dist; not above the root
 */
import { posix } from 'node:path';
import type { Place } from './library-search.ts';

/** The paths in the sandbox for paths of the host that a file leads to. */
export function neighboursOf({ host, inside }: Place): (path: string) => string {
  if (host === inside) return (path) => path;
  let [hostTop, insideTop] = [posix.dirname(host), posix.dirname(inside)];
  while (insideTop !== '/' && hostTop !== '/' && posix.basename(hostTop) === posix.basename(insideTop)) {
    hostTop = posix.dirname(hostTop);
    insideTop = posix.dirname(insideTop);
  }
  return (path) => posix.join(insideTop, posix.relative(hostTop, path));
}
