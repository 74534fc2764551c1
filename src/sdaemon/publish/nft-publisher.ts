import { ComicranError } from '../../base/errors.ts';
import type { NetworkSpec } from '../../base/sandbox-config.ts';
import { ConntrackSocket } from '../../linux/conntrack.ts';
import { Nftables } from '../../linux/nftables.ts';
import type { PortPublisher } from './publisher.ts';
import { isPublishTable, publishedPorts, publishRuleset, tableName } from './ruleset.ts';

/** Port forwarding with nftables, in the network namespace of the thread that makes it. */
export class NftPublisher implements PortPublisher {
  readonly #address: string;
  readonly #nftables = new Nftables();
  readonly #tracked = new ConntrackSocket();
  /** `5006/udp` -> the sandbox that has it. */
  readonly #holders = new Map<string, string>();

  /** Takes away what an earlier run of the daemon published. @param address of this machine. */
  constructor(address: string) {
    this.#address = address;
    for (const object of this.#nftables.list({ tables: null }) ?? []) {
      const table = object['table'] as { family: string; name: string } | undefined;
      if (table !== undefined && isPublishTable(table.name)) this.#delete(table.name);
    }
  }

  check(id: string, network: NetworkSpec): void {
    for (const { key } of publishedPorts(network)) {
      const holder = this.#holders.get(key);
      if (holder === undefined || holder === id) continue;
      throw new ComicranError('service.in-use', `port ${key} of this machine is published for '${holder}'`, {
        hint: `Choose another 'publish' port for '${id}', or none.`,
      });
    }
  }

  async publish(id: string, network: NetworkSpec): Promise<void> {
    this.check(id, network);
    const ports = publishedPorts(network);
    await this.unpublish(id);
    if (ports.length === 0) return;
    this.#nftables.applyText(`publish the ports of '${id}'`, publishRuleset(id, network, this.#address));
    for (const { key } of ports) this.#holders.set(key, id);
    // Also of clients that went on asking while the sandbox was elsewhere.
    this.#tracked.forgetFlowsTo(
      ports.map(({ publish: port, protocol }) => ({ address: this.#address, port, protocol })),
    );
  }

  async unpublish(id: string): Promise<void> {
    const held = [...this.#holders].filter(([, holder]) => holder === id);
    if (held.length === 0) return;
    this.#delete(tableName(id));
    for (const [key] of held) this.#holders.delete(key);
  }

  close(): void {
    this.#tracked.close();
    this.#nftables.close();
  }

  #delete(table: string): void {
    this.#nftables.applyText(`delete table ${table}`, `table ip ${table} { }\ndelete table ip ${table}\n`);
  }
}
