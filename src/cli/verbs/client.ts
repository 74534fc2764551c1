import type { Command } from 'commander';
import { DEFAULT_DURATION, DEFAULT_GRACE, DEFAULT_RATE, type RawClientOptions } from '../../traffic/client/options.ts';

type Options = RawClientOptions & { readonly json?: boolean; readonly timeline?: string; readonly hiccups?: boolean };

export function register(command: Command): void {
  command
    .argument('<host:port>', 'the server')
    .option('--rate <n>', 'requests a second', DEFAULT_RATE)
    .option('--duration <seconds>', 'how long to send', DEFAULT_DURATION)
    .option('--grace <seconds>', 'how long to wait for answers after the last request', DEFAULT_GRACE)
    .option('--digits <n>', 'ask for the squares of numbers of this length, instead of short ones')
    .option('--shared', 'others ask this server too: a gap in its counter is no failure')
    .option('--timeline <file>', 'write when each request was sent and answered')
    .option('--json', 'print the report as one line of JSON')
    .addHelpText(
      'after',
      '\nInterrupted (Ctrl-C), it reports what it has seen so far.\n\nExamples:\n' +
        '  comicran client 10.70.0.1:5006 --rate 1000 --duration 10\n' +
        '  comicran client 10.70.0.1:5006 --rate 20000 --duration 5 --json\n',
    )
    .action(async (target: string, raw: Options) => {
      const { clientOptions } = await import('../../traffic/client/options.ts');
      const { runClient } = await import('../../traffic/client/client.ts');
      const options = clientOptions(target, raw);
      const interrupted = new AbortController();
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());
      const { report, record } = await runClient(options, interrupted.signal);
      if (raw.timeline !== undefined) {
        const { writeTimeline } = await import('../../traffic/client/timeline.ts');
        writeTimeline(raw.timeline, record, report.startUnixUs);
      }
      if (raw.json) {
        process.stdout.write(`${JSON.stringify(report)}\n`);
      } else {
        const { renderClientReport } = await import('../../traffic/client/render.ts');
        process.stdout.write(renderClientReport(report));
      }
    });
}
