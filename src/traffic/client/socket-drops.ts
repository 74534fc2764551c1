import { readFileSync } from 'node:fs';

/**
 * How many datagrams the kernel dropped because a socket's receive queue was full, by the last column of /proc/net/udp.
 *
 * @param family 4 or 6. @param port the socket's local port. @returns null where the kernel does not say.
 */
export function socketDrops(family: 4 | 6, port: number): number | null {
  try {
    return dropsIn(readFileSync(`/proc/thread-self/net/udp${family === 6 ? '6' : ''}`, 'latin1'), port);
  } catch {
    return null; // not Linux, or no /proc
  }
}

/** @param table text of /proc/net/udp. */
function dropsIn(table: string, port: number): number | null {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const line of table.split('\n').slice(1)) {
    const columns = line.trim().split(/\s+/);
    if (columns[1]?.endsWith(suffix)) return Number(columns.at(-1));
  }
  return null;
}
