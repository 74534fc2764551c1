import type { Command } from 'commander';
import { needRoot } from '../root.ts';

export function register(command: Command): void {
  command
    .option('--json', 'print the result as one line of JSON, last')
    .option('--rate <n>', 'requests a second', Number, 1000)
    .option('--migrations <n>', 'how often the server moves', Number, 2)
    .option('--mode <mode>', 'mode of migration', 'stopcopy')
    .option('--keep', 'leave the lab and the server running')
    .addHelpText(
      'after',
      '\nExamples:\n  npm run demo\n  npm run demo -- --json\n  comicran demo --migrations 10 --rate 5000\n',
    )
    .action(async (options: { json?: boolean; rate: number; migrations: number; mode: string; keep?: boolean }) => {
      needRoot('the demonstration needs root: it makes network namespaces and sandboxes');
      const { runDemo } = await import('../../lab/demo/demo.ts');
      const { holds, renderReport, reportJson } = await import('../../lab/demo/report.ts');
      const report = await runDemo({
        mode: options.mode,
        rate: options.rate,
        migrations: options.migrations,
        keep: options.keep ?? false,
        say: (text) => void process.stderr.write(text),
      });
      process.stdout.write(renderReport(report));
      if (options.json) process.stdout.write(`${reportJson(report)}\n`);
      if (!holds(report)) process.exitCode = 1;
    });
}
