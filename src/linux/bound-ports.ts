/** Which ports something has bound in a network namespace, from the tables of procfs. */
import { KernelError } from './errno.ts';
import { readFileWhole } from './quick-files.ts';

/** `  sl  local_address rem_address   st …`; include/net/tcp_states.h. */
const ROW = /^\s*\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) \S+ ([0-9A-F]{2}) /gm;
const LISTEN = '0A';
/** 127.0.0.0/8 and ::1, as the kernel writes them on a little-endian machine. */
const LOOPBACK = /^[0-9A-F]{6}7F$|^0{24}01000000$/;

/** A table (`net/udp`, `net/tcp6`) as text -> ports that can be reached from outside: bound (UDP), listened at (TCP). */
export function portsInTable(text: string, protocol: 'udp' | 'tcp'): Set<number> {
  const ports = new Set<number>();
  for (const [, address, port, state] of text.matchAll(ROW)) {
    if (LOOPBACK.test(address!) || (protocol === 'tcp' && state !== LISTEN)) continue;
    ports.add(Number.parseInt(port!, 16));
  }
  return ports;
}

/** @param pid a process of the network namespace. Empty where it has ended. */
export function boundPorts(pid: number, protocol: 'udp' | 'tcp'): Set<number> {
  const tables = [protocol, `${protocol}6`].map((table) => {
    try {
      return readFileWhole(`/proc/${pid}/net/${table}`).toString('latin1');
    } catch (thrown) {
      // Without IPv6 there is no second table.
      if (thrown instanceof KernelError) return '';
      throw thrown;
    }
  });
  return portsInTable(tables.join('\n'), protocol);
}
