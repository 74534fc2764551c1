/**
 * Who is who on the wire. A program's certificate carries its name as a DNS name (RFC 6125), which the other side checks:
 * a client checks that it has reached the program it wanted, a server sees who calls.
 */

export type Peer =
  | { readonly role: 'sdn' }
  | { readonly role: 'smanager' }
  | { readonly role: 'sdaemon'; readonly vm: string };

const SDN_NAME = 'sdn.comicran';
const SMANAGER_NAME = 'smanager.comicran';
const SDAEMON_SUFFIX = '.sdaemon.comicran';

/** A name of a virtual machine is one DNS label, and none of the file names that a directory of certificates has. */
const VM_NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const RESERVED_VM_NAMES: readonly string[] = ['ca', 'sdn', 'smanager'];

export function isVmName(text: string): boolean {
  return VM_NAME.test(text) && !RESERVED_VM_NAMES.includes(text);
}

function sdaemonName(vm: string): string {
  return `${vm}${SDAEMON_SUFFIX}`;
}

export function peerName(peer: Peer): string {
  if (peer.role === 'sdn') return SDN_NAME;
  return peer.role === 'smanager' ? SMANAGER_NAME : sdaemonName(peer.vm);
}

/** The peer that a name stands for; undefined where it is none of this project's. */
export function parsePeerName(name: string): Peer | undefined {
  if (name === SDN_NAME) return { role: 'sdn' };
  if (name === SMANAGER_NAME) return { role: 'smanager' };
  if (!name.endsWith(SDAEMON_SUFFIX)) return undefined;
  const vm = name.slice(0, -SDAEMON_SUFFIX.length);
  return isVmName(vm) ? { role: 'sdaemon', vm } : undefined;
}

/** How a peer is named to a person: "the sdaemon of vm1". */
export function describePeer(peer: Peer): string {
  return peer.role === 'sdaemon' ? `the sdaemon of ${peer.vm}` : `the ${peer.role}`;
}

/** The short name of a peer: of its files in a directory of certificates, and on the command line. */
export function shortName(peer: Peer): string {
  return peer.role === 'sdaemon' ? peer.vm : peer.role;
}

/** The peer of a short name: `sdn`, `smanager`, or a virtual machine's name. */
export function peerOfShortName(name: string): Peer | undefined {
  if (name === 'sdn' || name === 'smanager') return { role: name };
  return isVmName(name) ? { role: 'sdaemon', vm: name } : undefined;
}
