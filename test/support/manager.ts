/** The interactive manager, driven through a pipe: a migration costs no start of a program. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { MigrationFigures } from '../../src/lab/demo/figures.ts';

const COMICRAN = join(import.meta.dirname, '../../bin/comicran');

/** A migration that did not take place, as `migrate --json` tells it. */
export class NotMoved extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export type MoveOptions = {
  /** Absent: the daemon's default. */
  readonly mode?: string;
  readonly fallback?: string;
  /** Further words of the command. */
  readonly more?: readonly string[];
};

export class Manager {
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  #lines: string[] = [];
  #answer: PromiseWithResolvers<string> | undefined;

  /** The caller closes it. In a process group of its own: Ctrl-C is for the program that drives it. */
  constructor() {
    this.#child = spawn(COMICRAN, ['smanager'], { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    this.#closed = once(this.#child, 'close');
    // Progress of migrations.
    this.#child.stderr!.resume();
    this.#child.stdin!.on('error', () => undefined);
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.#take(line));
    this.#closed.then(() => this.#answer?.reject(new Error('smanager has ended'))).catch(() => undefined);
  }

  /** An answer is a JSON object that begins and ends with a line of its own; other lines explain a failure once more. */
  #take(line: string): void {
    if (this.#lines.length === 0 && line !== '{') return;
    this.#lines.push(line);
    if (line !== '}') return;
    const text = this.#lines.join('\n');
    this.#lines = [];
    this.#answer?.resolve(text);
  }

  /** One at a time. @throws NotMoved */
  async migrate(name: string, to: string, options: MoveOptions = {}): Promise<MigrationFigures> {
    const { mode, fallback, more = [] } = options;
    const modes = [...(mode === undefined ? [] : ['--mode', mode]), ...(fallback ? ['--fallback', fallback] : [])];
    this.#answer = Promise.withResolvers<string>();
    this.#child.stdin!.write(`${['migrate', name, to, '--json', ...modes, ...more].join(' ')}\n`);
    const answer = JSON.parse(await this.#answer.promise) as MigrationFigures & {
      failed?: { code: string; message: string };
    };
    if (answer.failed !== undefined) throw new NotMoved(answer.failed.code, answer.failed.message);
    return answer;
  }

  async close(): Promise<void> {
    this.#child.stdin!.end();
    await this.#closed;
  }
}
