import type { Command } from 'commander';
import type { HiccupMeter } from '../../monitor/hiccup.ts';
import type { ClientRun } from '../../traffic/client/client.ts';
import {
  DEFAULT_DURATION,
  DEFAULT_GRACE,
  DEFAULT_PATIENCE,
  DEFAULT_RATE,
  type RawClientOptions,
} from '../../traffic/client/options.ts';
import type { Span } from '../../traffic/client/spans.ts';

type Options = RawClientOptions & {
  readonly json?: boolean;
  readonly timeline?: string;
  readonly hiccups?: boolean;
  readonly tellStart?: boolean;
  readonly windows?: string;
};

/** Room for some 40,000 small answers: what comes at once after a stop must not be lost here. */
const RECEIVE_LIMIT_BYTES = 32 * 1024 * 1024;

/** As root, a receive queue beyond what net.core.rmem_max allows. */
async function socketTuner(): Promise<((localPort: number) => void) | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const { findOwnUdpSocket } = await import('../../linux/own-socket.ts');
  const { forceReceiveLimit } = await import('../../linux/socket-memory.ts');
  return (localPort) => {
    const socket = findOwnUdpSocket(localPort);
    try {
      if (socket !== undefined) forceReceiveLimit(socket, RECEIVE_LIMIT_BYTES);
    } catch {
      // Root in a container without CAP_NET_ADMIN: the report says how many answers were dropped here.
    }
  };
}

/** What the platform did meanwhile, in the words of the report. */
async function disturbance(meter: HiccupMeter, { report, record }: ClientRun) {
  const { mergeStalls } = await import('../../monitor/hiccup.ts');
  const { undisturbed } = await import('../../traffic/client/report.ts');
  const platform = await meter.stop();
  const stalls = mergeStalls(platform.stalls).map(({ fromUnixUs, toUnixUs }) => ({
    fromUs: fromUnixUs - report.startUnixUs,
    toUs: toUnixUs - report.startUnixUs,
  }));
  const { stalls: _, ...summary } = platform;
  return { stalls, figures: { platform: summary, undisturbed: undisturbed(record, stalls) } };
}

/** The latencies in the windows that a file names. */
async function windowed(file: string, { report, record }: ClientRun, stalls: readonly Span[] | undefined) {
  const { readWindows, windowsReport } = await import('../../traffic/client/windows.ts');
  return windowsReport(record, readWindows(file, report.startUnixUs), stalls);
}

/** @returns the exit code. A run of which something is known is a success, whatever was lost; this one has shown nothing. */
function tellSilence(target: string, sent: number): number {
  process.stderr.write(
    `comicran: ${target} answered none of ${sent} requests\n` +
      "  next: See that the server runs and that it is this address; for a sandbox, 'comicran smanager ps' says which.\n",
  );
  return 1;
}

const tellStart = (): void => void process.stderr.write('the first answer has come\n');

async function run(target: string, raw: Options): Promise<void> {
  const { clientOptions } = await import('../../traffic/client/options.ts');
  const { runClient } = await import('../../traffic/client/client.ts');
  const options = clientOptions(target, raw);
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());
  const prepareSocket = await socketTuner();
  const meter = raw.hiccups === true ? await (await import('../../monitor/hiccup.ts')).startHiccupMeter() : undefined;
  const finished = await runClient(options, {
    signal: interrupted.signal,
    ...(prepareSocket === undefined ? {} : { prepareSocket }),
    ...(raw.tellStart === true ? { onFirstAnswer: tellStart } : {}),
  }).catch(async (thrown: unknown) => {
    // Its threads would keep the program alive.
    await meter?.stop();
    throw thrown;
  });
  const { report, record } = finished;
  const watched = meter === undefined ? undefined : await disturbance(meter, finished);
  const disturbed = watched?.figures;
  const windows = raw.windows === undefined ? undefined : await windowed(raw.windows, finished, watched?.stalls);
  if (raw.timeline !== undefined) {
    const { writeTimeline } = await import('../../traffic/client/timeline.ts');
    writeTimeline(raw.timeline, record, report.startUnixUs);
  }
  if (report.sent > 0 && report.answered === 0) process.exitCode = tellSilence(report.target, report.sent);
  if (raw.json === true) {
    process.stdout.write(`${JSON.stringify({ ...report, ...disturbed, windows })}\n`);
    return;
  }
  const { renderClientReport } = await import('../../traffic/client/render.ts');
  process.stdout.write(renderClientReport(report, disturbed?.undisturbed));
  if (windows !== undefined) {
    const { renderWindows } = await import('../../traffic/client/render-windows.ts');
    process.stdout.write(`\n${renderWindows(windows)}`);
  }
  if (disturbed !== undefined) {
    const { renderHiccups } = await import('../../monitor/render-hiccups.ts');
    process.stdout.write(`\n${renderHiccups(disturbed.platform)}`);
  }
}

export function register(command: Command): void {
  command
    .argument('<host:port>', 'the server')
    .option('--rate <n>', 'requests a second', DEFAULT_RATE)
    .option('--duration <seconds>', 'how long to send', DEFAULT_DURATION)
    .option('--grace <seconds>', 'how long to wait for answers after the last request', DEFAULT_GRACE)
    .option('--patience <seconds>', 'wait before that for as long, while answers are missing', DEFAULT_PATIENCE)
    .option('--digits <n>', 'ask for the squares of numbers of this length, instead of short ones')
    .option('--shared', 'others ask this server too: a gap in its counter is no failure')
    .option('--hiccups', 'watch meanwhile when this machine did not run, and report the latencies without that, too')
    .option('--tell-start', 'say on stderr when the first answer has come')
    .option('--windows <file>', 'read times from this file when the run is over, and report their requests separately')
    .option('--timeline <file>', 'write when each request was sent and answered')
    .option('--json', 'print the report as one line of JSON')
    .addHelpText(
      'after',
      '\nInterrupted (Ctrl-C), it reports what it has seen so far. The exit code is 1 when nothing at all was\n' +
        'answered; requests that were lost are in the report and do not change it.\n\nExamples:\n' +
        '  comicran server --count & sleep 1; comicran client 127.0.0.1:5006 --rate 1000 --duration 2; kill $!\n' +
        '  comicran lab exec ue -- comicran client 10.70.0.1:5006 --rate 1000 --duration 10\n' +
        '  comicran lab exec ue -- comicran client 10.70.0.1:5006 --rate 20000 --duration 5 --json\n',
    )
    .action(run);
}
