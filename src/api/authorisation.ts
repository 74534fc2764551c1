/** Who may call what. Pure; the server asks before it reads a request. */
import { describePeer, type Peer } from './names.ts';

/** What an sdaemon may call at another sdaemon. At the sdn it may call everything, in its own name (see below). */
const BETWEEN_SDAEMONS: readonly string[] = [
  ...['Info', 'LackingFiles', 'PutFilePart'],
  ...['PrepareMigration', 'DiscardMigration', 'KeepLog'],
];

/**
 * @param service the RPC service's short name: `Sdaemon`, `Sdn`.
 * @returns undefined: it may. Else the reason, as a clause: "the sdaemon of vm1 may not call Sdaemon.Start".
 */
export function refusal(peer: Peer, service: string, method: string): string | undefined {
  const allowed =
    peer.role === 'smanager' ||
    (peer.role === 'sdaemon' && (service === 'Sdn' || (service === 'Sdaemon' && BETWEEN_SDAEMONS.includes(method))));
  return allowed ? undefined : `${describePeer(peer)} may not call ${service}.${method}`;
}

/**
 * Acting for a machine: an sdaemon acts in its own name alone, smanager in anybody's.
 * @returns undefined: it may. Else the reason.
 */
export function refusalToActFor(peer: Peer, vm: string): string | undefined {
  if (peer.role === 'smanager' || (peer.role === 'sdaemon' && peer.vm === vm)) return undefined;
  return `${describePeer(peer)} may not act in the name of ${vm}`;
}
