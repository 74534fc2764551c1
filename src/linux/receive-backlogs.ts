/**
 * Packets that wait for a CPU to receive them, after a device has handed them over: /proc/net/softnet_stat, which shows
 * all CPUs in every network namespace.
 */
import { readFileSync } from 'node:fs';

/** Column of a line that has the fill of its CPU's backlog (net/core/net-procfs.c, since Linux 5.10). */
const BACKLOG_COLUMN = 11;

/** One number per CPU that is online. Most that fit: net.core.netdev_max_backlog. */
export function receiveBacklogs(): number[] {
  return parseReceiveBacklogs(readFileSync('/proc/net/softnet_stat', 'latin1'));
}

export function parseReceiveBacklogs(text: string): number[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => Number.parseInt(line.split(/\s+/)[BACKLOG_COLUMN]!, 16));
}
