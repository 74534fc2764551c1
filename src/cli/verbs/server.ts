import type { Command } from 'commander';
import { ComicranError, messageOf } from '../../base/errors.ts';
import { DEFAULT_HOST, DEFAULT_PORT, type RawServerOptions, serverOptions } from '../../traffic/server/options.ts';

/** What the kernel has refused, with what to do; anything else as it is. */
function explainBind(thrown: unknown, { host, port }: { readonly host: string; readonly port: number }): unknown {
  const { code, syscall } = (thrown ?? {}) as NodeJS.ErrnoException;
  if (syscall !== 'bind') return thrown;
  const place = `UDP port ${port} of ${host}`;
  switch (code) {
    case 'EADDRINUSE':
      return new ComicranError('usage', `${place} is taken by another program`, {
        hint: `'ss -ulpn sport = :${port}' says by which; choose another one with --port.`,
      });
    case 'EACCES':
      return new ComicranError('needs.root', `${place} is for root alone`, {
        hint: 'Choose one from 1024 on with --port, or run it as root.',
      });
    case 'EADDRNOTAVAIL':
      return new ComicranError('usage', `${host} is no address of this machine`, {
        hint: "'ip address' lists those that there are; without --host it listens on all of them.",
      });
    default:
      return thrown;
  }
}

export function register(command: Command): void {
  command
    .option('--port <port>', 'UDP port', DEFAULT_PORT)
    .option('--host <address>', 'address to listen on', DEFAULT_HOST)
    .option('--memory <size>', 'hold this much memory, for example 64M')
    .option('--touch <pages>', 'write this many pages of that memory for each request; 50M/s: so much each second')
    .option('--count', 'answer "N*N COUNT", where COUNT is how many requests have been served')
    .option(
      '--answer <how>',
      'steady: by the requests alone; clock, random: with a last word that depends on them',
      'steady',
    )
    .option('--heartbeat <to>', 'send a datagram by timer to ADDRESS:PORT[/MILLISECONDS]')
    .addHelpText(
      'after',
      '\nThe datagram "7" is answered "49"; anything that is not an integer "error: …".\n\nExamples:\n' +
        '  comicran server --port 5006 --count --memory 64M --touch 16\n' +
        '  comicran server --memory 1G --touch 50M/s\n' +
        '  comicran server --answer random\n' +
        '  comicran server --heartbeat 10.70.0.2:7000/100\n',
    )
    .action(async (raw: RawServerOptions) => {
      const options = ((): ReturnType<typeof serverOptions> => {
        try {
          return serverOptions(raw);
        } catch (thrown) {
          throw new ComicranError('usage', messageOf(thrown));
        }
      })();
      const { runServer } = await import('../../traffic/server/run.ts');
      await runServer(options).catch((thrown: unknown) => {
        throw explainBind(thrown, options);
      });
    });
}
