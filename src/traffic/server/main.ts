/** The server as a program of its own: what a sandbox runs. `comicran server` is the same on a machine. */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { serverOptions } from './options.ts';
import { runServer } from './run.ts';

try {
  const { values } = parseArgs({
    options: {
      port: { type: 'string' },
      host: { type: 'string' },
      memory: { type: 'string' },
      touch: { type: 'string' },
      count: { type: 'boolean' },
      answer: { type: 'string' },
      heartbeat: { type: 'string' },
    },
  });
  await runServer(serverOptions(values));
} catch (thrown) {
  process.stderr.write(`server: ${thrown instanceof Error ? thrown.message : String(thrown)}\n`);
  process.exitCode = 1;
}
