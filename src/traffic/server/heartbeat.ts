/** A datagram by timer: what a server sends without having been asked. */
import { createSocket, type SocketOptions } from 'node:dgram';
import { isIPv4 } from 'node:net';

export type Heartbeat = { readonly host: string; readonly port: number; readonly periodMs: number };

const DEFAULT_PERIOD_MS = 100;
const MAX_PERIOD_MS = 3_600_000;

/** `10.70.0.2:7000` or `10.70.0.2:7000/250`, the period in milliseconds. @throws RangeError */
export function parseHeartbeat(text: string): Heartbeat {
  const [, host = '', port, period = String(DEFAULT_PERIOD_MS)] =
    /^([0-9.]+):([0-9]{1,5})(?:\/([0-9]{1,7}))?$/.exec(text) ?? [];
  const beat = { host, port: Number(port), periodMs: Number(period) };
  const valid = isIPv4(host) && beat.port >= 1 && beat.port <= 65_535;
  if (!valid || beat.periodMs < 1 || beat.periodMs > MAX_PERIOD_MS) {
    throw new RangeError(
      `--heartbeat '${text}' is not ADDRESS:PORT[/MILLISECONDS]; write for example 10.70.0.2:7000/100`,
    );
  }
  return beat;
}

/** Sends `beat 1`, `beat 2`… from a port of its own. @returns what ends it. */
export function startHeartbeat({ host, port, periodMs }: Heartbeat, lookup: SocketOptions['lookup']): () => void {
  const socket = createSocket({ type: 'udp4', ...(lookup === undefined ? {} : { lookup }) });
  // Nobody has to be there.
  socket.on('error', () => undefined);
  let beats = 0;
  const timer = setInterval(() => socket.send(`beat ${++beats}`, port, host, () => undefined), periodMs);
  return () => {
    clearInterval(timer);
    socket.close();
  };
}
