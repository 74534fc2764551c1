/** A client in the lab's user-equipment node that asks for as long as something else goes on. */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClientFigures, MigrationFigures } from './figures.ts';
import { parseJsonOutput, type RunningProgram, startComicran } from './program.ts';

export type LoadOptions = {
  /** `IP:PORT` */
  readonly service: string;
  /** Requests a second. */
  readonly rate: number;
  /** It ends then by itself, if nobody has ended it before. */
  readonly seconds: number;
  /** How long answers are waited for after the last request. */
  readonly graceSeconds?: number;
  /** Of the numbers that it sends; absent: short ones. */
  readonly digits?: number;
  /** Watch the platform meanwhile. */
  readonly hiccups?: boolean;
  /** Ctrl-C is for the program that started it. */
  readonly shielded?: boolean;
};

export class Load {
  readonly #program: RunningProgram;
  readonly #directory: string;
  readonly #windows: string;

  /** Starts it. The caller ends it, also when what was to be measured has failed. */
  constructor({ service, rate, seconds, graceSeconds = 1, digits, hiccups = false, shielded = false }: LoadOptions) {
    this.#directory = mkdtempSync(join(tmpdir(), 'comicran-load-'));
    this.#windows = join(this.#directory, 'windows');
    writeFileSync(this.#windows, '');
    const words = ['lab', 'exec', 'ue', '--', 'comicran', 'client', service, '--json', '--windows', this.#windows];
    const options = ['--rate', `${rate}`, '--duration', `${seconds}`, '--grace', `${graceSeconds}`];
    if (digits !== undefined) options.push('--digits', `${digits}`);
    this.#program = startComicran([...words, ...options, ...(hiccups ? ['--hiccups'] : [])], { shielded });
    // Seen again when it is waited for; without this a failing client would end the program before that.
    this.#program.finished.catch(() => undefined);
  }

  /** The requests in flight during this migration are to stand apart. */
  mark(label: string, { startedUnixUs, endedUnixUs }: Pick<MigrationFigures, 'startedUnixUs' | 'endedUnixUs'>): void {
    const window = { label, fromUnixUs: startedUnixUs, toUnixUs: endedUnixUs };
    appendFileSync(this.#windows, `${JSON.stringify(window)}\n`);
  }

  /** Waits until it has ended by itself. */
  async finished(): Promise<ClientFigures> {
    try {
      return parseJsonOutput(await this.#program.finished) as ClientFigures;
    } finally {
      rmSync(this.#directory, { recursive: true, force: true });
    }
  }

  /** Ends it now. @throws what made it fail */
  async end(): Promise<ClientFigures> {
    this.#program.stop();
    return await this.finished();
  }
}
