/** Waiting until the process of a sandbox listens: a start that answers before that leads to requests that nobody takes. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ComicranError } from '../../base/errors.ts';
import type { PortSpec } from '../../base/sandbox-config.ts';
import { formatMicros } from '../../base/units.ts';
import type { Exit } from '../../jailor/state.ts';
import { boundPorts } from '../../linux/bound-ports.ts';

const POLL_MS = 20;

export type Looked = {
  /** Undefined: it has none any more. */
  readonly pid: number | undefined;
  /** Undefined: it has not ended. */
  readonly exit: Exit | undefined;
};

export type PortsWanted = {
  readonly id: string;
  readonly vm: string;
  readonly ports: readonly PortSpec[];
  readonly waitMs: number;
  readonly look: () => Looked;
  /** The last that it has written, for who wants to know why it has ended. */
  readonly lastWords: () => Promise<readonly string[]>;
  /** For tests. */
  readonly bound?: (pid: number, protocol: PortSpec['protocol']) => ReadonlySet<number>;
};

const describePorts = (ports: readonly PortSpec[]): string =>
  `port${ports.length === 1 ? '' : 's'} ${ports.map(({ port, protocol }) => `${port}/${protocol}`).join(', ')}`;

/**
 * Resolves when every port that the configuration declares is bound in the sandbox's network namespace.
 * @throws ComicranError process.gone, where the process ends first; deadline. The sandbox stays as it is.
 */
export async function waitForPorts(wanted: PortsWanted): Promise<void> {
  const { id, vm, ports, waitMs, look, lastWords, bound = boundPorts } = wanted;
  const endMs = performance.now() + waitMs;
  for (;;) {
    const { pid, exit } = look();
    const missing = pid === undefined ? ports : ports.filter(({ port, protocol }) => !bound(pid, protocol).has(port));
    if (missing.length === 0) return;
    if (exit !== undefined) {
      const words = await lastWords();
      const said = words.length === 0 ? 'It wrote nothing.' : `It wrote: ${words.join(' | ')}.`;
      throw new ComicranError(
        'process.gone',
        `'${id}' has ended on ${vm} (${exit.signal ?? `exit ${exit.code ?? '?'}`}) before it bound ${describePorts(missing)}`,
        { hint: `${said} 'comicran smanager terminate ${id}' takes away what is left of it.` },
      );
    }
    if (performance.now() >= endMs) {
      throw new ComicranError(
        'deadline',
        `'${id}' runs on ${vm}, but has not bound ${describePorts(missing)} after ${formatMicros(waitMs * 1000)}`,
        {
          hint: `It runs on: 'comicran smanager logs ${id}' shows what it says. --wait TIME waits longer, --no-wait not at all.`,
        },
      );
    }
    await sleep(Math.min(POLL_MS, Math.max(1, endMs - performance.now())));
  }
}
