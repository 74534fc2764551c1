/** A client in a node of the lab that asks for as long as something else goes on. */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClientFigures, MigrationFigures } from './figures.ts';
import { parseJsonOutput, type RunningProgram, startComicran } from './program.ts';

export type LoadOptions = {
  /** `IP:PORT` */
  readonly service: string;
  /** Of the lab, where the client runs; absent: the user equipment. */
  readonly node?: string;
  /** Requests a second. */
  readonly rate: number;
  /** It ends then by itself, if nobody has ended it before. */
  readonly seconds: number;
  /** How long second answers are waited for when none is missing any more, or they have been waited for long enough. */
  readonly graceSeconds?: number;
  /** Of the numbers that it sends; absent: short ones. */
  readonly digits?: number;
  /** Watch the platform meanwhile. */
  readonly hiccups?: boolean;
  /** How long answers that are missing are waited for; absent: 5. */
  readonly patienceSeconds?: number;
  /** Ctrl-C is for the program that started it. */
  readonly shielded?: boolean;
};

/** For answers that are missing: one that comes in this time is late, and not lost. */
const PATIENCE_SECONDS = 5;
const FIRST_ANSWER = /first answer has come/;

export class Load {
  /** Resolves when the server has answered: it is asked from now on. Rejects where the client ends before that. */
  readonly begun: Promise<void>;
  readonly #program: RunningProgram;
  readonly #directory: string;
  readonly #windows: string;

  /** Starts it. The caller ends it, also when what was to be measured has failed. */
  constructor(options: LoadOptions) {
    const { service, node = 'ue', rate, seconds, graceSeconds = 1 } = options;
    const { digits, hiccups = false, shielded = false, patienceSeconds = PATIENCE_SECONDS } = options;
    this.#directory = mkdtempSync(join(tmpdir(), 'comicran-load-'));
    this.#windows = join(this.#directory, 'windows');
    writeFileSync(this.#windows, '');
    const words = ['lab', 'exec', node, '--', 'comicran', 'client', service, '--json', '--windows', this.#windows];
    const numbers = ['--rate', `${rate}`, '--duration', `${seconds}`, '--grace', `${graceSeconds}`, '--tell-start'];
    numbers.push('--patience', `${patienceSeconds}`);
    if (digits !== undefined) numbers.push('--digits', `${digits}`);
    const begun = Promise.withResolvers<void>();
    this.begun = begun.promise;
    let said = '';
    const onProgress = (text: string): void => {
      said += text;
      if (FIRST_ANSWER.test(said)) begun.resolve();
    };
    this.#program = startComicran([...words, ...numbers, ...(hiccups ? ['--hiccups'] : [])], { shielded, onProgress });
    // Seen again when it is waited for; without this a failing client would end the program before that.
    this.#program.finished.catch(() => undefined);
    this.begun.catch(() => undefined);
    const unanswered = (cause?: unknown): void => begun.reject(new Error(`${service} has answered nothing`, { cause }));
    this.#program.finished.then(() => unanswered(), unanswered);
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
