import type { Client } from '@connectrpc/connect';
import type { Connection } from '../../api/client.ts';
import type { Sdaemon } from '../../api/gen/comicran_pb.ts';

/** Connections to the daemons of other machines, kept from one migration to the next. */
export class Peers {
  readonly #open: (vm: string, endpoint: string) => Connection<typeof Sdaemon>;
  readonly #connections = new Map<string, Connection<typeof Sdaemon>>();

  constructor(open: (vm: string, endpoint: string) => Connection<typeof Sdaemon>) {
    this.#open = open;
  }

  get(vm: string, endpoint: string): Client<typeof Sdaemon> {
    const key = `${vm} ${endpoint}`;
    const connection = this.#connections.get(key) ?? this.#open(vm, endpoint);
    this.#connections.set(key, connection);
    return connection.client;
  }

  close(): void {
    for (const connection of this.#connections.values()) connection.close();
    this.#connections.clear();
  }
}
