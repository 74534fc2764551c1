import type { Client } from '@connectrpc/connect';
import { type Connection, connect } from '../api/client.ts';
import { Sdaemon, Sdn } from '../api/gen/comicran_pb.ts';
import { loadIdentity } from '../api/identity.ts';
import { ComicranError } from '../base/errors.ts';
import { suggestion } from '../base/suggest.ts';
import type { ManagerConfig } from './manager-config.ts';

/** The connections to all daemons, each opened by its first call. */
export interface Fleet {
  vmNames(): string[];
  /** `IP:PORT` of a machine's daemon. @throws ComicranError vm.unknown */
  endpointOf(vm: string): string;
  vm(name: string): Client<typeof Sdaemon>;
  sdn(): Client<typeof Sdn>;
  /** Of a question that a daemon answers from memory: one that takes longer is not to hold up the answers of the others. */
  readonly look: { readonly timeoutMs: number };
  close(): void;
}

/** Ending a sandbox waits for its grace time, starting one copies files: both take longer than a look. */
const DEADLINE_MS = 60_000;
const LOOK_MS = 4_000;

/** A machine that cannot be reached, or whose daemon stands still: what it would say is not known. */
export function isSilent(thrown: unknown): boolean {
  return thrown instanceof ComicranError && (thrown.code === 'vm.unreachable' || thrown.code === 'deadline');
}

/** @throws ComicranError pki.invalid */
export function openFleet(config: ManagerConfig): Fleet {
  const identity = loadIdentity(config.pki, 'smanager');
  const { patience = 1 } = config;
  const deadline = { defaultDeadlineMs: DEADLINE_MS * patience, patience };
  const vms = new Map<string, Connection<typeof Sdaemon>>();
  let sdn: Connection<typeof Sdn> | undefined;
  const endpointOf = (vm: string): string => {
    const known = config.vms[vm];
    if (known !== undefined) return known.endpoint;
    throw new ComicranError('vm.unknown', `no machine '${vm}' is known`, {
      hint: suggestion(vm, Object.keys(config.vms), 'Known are'),
    });
  };
  return {
    vmNames: () => Object.keys(config.vms).toSorted(),
    endpointOf,
    vm(name) {
      const endpoint = endpointOf(name);
      const connection =
        vms.get(name) ?? connect(Sdaemon, { endpoint, identity, peer: { role: 'sdaemon', vm: name }, ...deadline });
      vms.set(name, connection);
      return connection.client;
    },
    sdn() {
      sdn ??= connect(Sdn, { endpoint: config.sdn.endpoint, identity, peer: { role: 'sdn' }, patience });
      return sdn.client;
    },
    look: { timeoutMs: LOOK_MS * patience },
    close() {
      for (const connection of vms.values()) connection.close();
      sdn?.close();
    },
  };
}
