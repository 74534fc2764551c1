import type { NetworkSpec } from '../../base/sandbox-config.ts';

const PREFIX = 'comicran_publish_';

/** One table a sandbox. A hyphen has no place in a bare name of nft(8); an id has no underscore, so no two collide. */
export const tableName = (id: string): string => `${PREFIX}${id.replaceAll('-', '_')}`;

export const isPublishTable = (name: string): boolean => name.startsWith(PREFIX);

/** The ports of a sandbox that the machine's own address leads to. */
export function publishedPorts(
  network: NetworkSpec,
): { readonly key: string; readonly port: number; readonly protocol: string; readonly publish: number }[] {
  return network.ports.flatMap(({ port, protocol, publish }) =>
    publish === undefined ? [] : [{ key: `${publish}/${protocol}`, port, protocol, publish }],
  );
}

/** Replaces the sandbox's table, for nft(8) to read; answers come back through the machine, which translates them back. */
export function publishRuleset(id: string, network: NetworkSpec, machineAddress: string): string {
  const table = tableName(id);
  const rules = publishedPorts(network)
    .map(
      ({ port, protocol, publish }) =>
        `    ip daddr ${machineAddress} ${protocol} dport ${publish} dnat to ${network.address}:${port}\n`,
    )
    .join('');
  const chain = (hook: string): string =>
    `  chain ${hook} {\n    type nat hook ${hook} priority -100; policy accept;\n${rules}  }\n`;
  return (
    // Deleting what may not be there: made first, in the same transaction.
    `table ip ${table} { }\ndelete table ip ${table}\n` +
    `table ip ${table} {\n${chain('prerouting')}${chain('output')}}\n`
  );
}
