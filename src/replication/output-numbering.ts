import { defined } from '../base/assert.ts';
import type { Flow, OutputEntry } from '../base/traffic-log.ts';
import type { WholeDatagram } from './datagrams.ts';
import { digestOf } from './digest.ts';
import { FlowTable } from './flow-table.ts';

/** Makes entries of the log of the datagrams that a process sends, numbered within their flow. Pure. */
export class OutputNumbering {
  readonly #flows = new FlowTable<{ readonly flow: Flow; next: number }>();

  entryOf(datagram: WholeDatagram): OutputEntry {
    const { sourceAddress, sourcePort, destinationAddress, destinationPort, payload } = datagram;
    const known = this.#flows.get(sourceAddress, sourcePort, destinationAddress, destinationPort, () => ({
      flow: flowOf(datagram),
      next: 0,
    }));
    return { kind: 'output', flow: known.flow, index: known.next++, length: payload.length, digest: digestOf(payload) };
  }
}

/** The flow of a datagram that was sent from here. */
export function flowOf({ packets, sourcePort, destinationPort }: WholeDatagram): Flow {
  const packet = defined(packets[0], 'a packet of a datagram');
  return {
    localAddress: Buffer.from(packet.subarray(12, 16)),
    localPort: sourcePort,
    remoteAddress: Buffer.from(packet.subarray(16, 20)),
    remotePort: destinationPort,
  };
}
