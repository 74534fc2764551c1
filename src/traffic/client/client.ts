/**
 * The load generator: open loop. Requests leave on a fixed schedule, whether earlier ones have been answered or not, so
 * that a server which stops for a moment meets the same load as one that does not. What was due while the client itself
 * could not send is sent at once, counted as late, and its latency is counted from when it was due.
 */
import { isIPv6 } from 'node:net';
import type { ClientOptions } from './options.ts';
import { rehearse } from './rehearsal.ts';
import { type ClientReport, reportOf } from './report.ts';
import { connect, Run } from './run.ts';
import type { RunRecord } from './run-record.ts';
import { socketDrops } from './socket-drops.ts';

export type ClientRun = { readonly report: ClientReport; readonly record: RunRecord };

export type RunControl = {
  /** Ends the sending early; the run is reported as far as it got. */
  readonly signal?: AbortSignal;
  /** Told the local port of the socket before anything is sent, to do to it what Node cannot. */
  readonly prepareSocket?: (localPort: number) => void;
  /** Told once, when the server has answered. */
  readonly onFirstAnswer?: () => void;
};

/**
 * Sends `rate` requests a second for a time and listens for their answers.
 *
 * @throws ComicranError where the server's name or address cannot be used; silence of the server is a result.
 */
export async function runClient(options: ClientOptions, control: RunControl = {}): Promise<ClientRun> {
  const socket = await connect(options);
  try {
    control.prepareSocket?.(socket.address().port);
    await rehearse(options);
    const run = new Run(options, socket);
    if (control.onFirstAnswer !== undefined) socket.once('message', control.onFirstAnswer);
    await run.complete(options, control.signal);
    const host = isIPv6(options.host) ? `[${options.host}]` : options.host;
    const { family, port } = socket.address();
    const report = reportOf(run.record, {
      target: `${host}:${options.port}`,
      startUnixUs: run.startUnixUs,
      refused: run.refused,
      sendFailures: run.sendFailures,
      receiveDrops: socketDrops(family === 'IPv6' ? 6 : 4, port),
      interrupted: run.record.sent < run.record.capacity,
      shared: options.shared,
    });
    return { report, record: run.record };
  } finally {
    socket.close();
  }
}
