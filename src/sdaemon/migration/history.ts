/**
 * What became of the migrations away from this machine: for an operator who was not there at the end, because smanager was
 * killed or the machine it ran on is gone. One file with the last of them, which outlives the daemon.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { ComicranError, messageOf } from '../../base/errors.ts';
import { readTextFile } from '../../base/text-file.ts';
import type { Log } from '../log.ts';

/** `moved`: it runs at `toVm`. `stayed`: it runs on here. `halted`: it stands still until an operator has looked. */
export type MigrationEnd = 'moved' | 'stayed' | 'halted';

export type PastMigration = {
  readonly id: string;
  readonly sandbox: string;
  readonly toVm: string;
  /** Empty: the default. */
  readonly requestedMode: string;
  /** That it was moved with; empty where it was not. */
  readonly mode: string;
  readonly startedUnixMs: number;
  /** Null: it is under way. */
  readonly endedUnixMs: number | null;
  readonly end: MigrationEnd | null;
  /** Why it was not moved, or in another mode: a code of base/errors.ts, and a sentence. Empty: there is no more to say. */
  readonly code: string;
  readonly message: string;
};

export type Ending = Pick<PastMigration, 'mode' | 'code' | 'message'> & { readonly end: MigrationEnd };

const KEPT = 50;
const VERSION = 1;
const LONGEST_REASON = 300;

const MAX_BYTES = 4 * 1024 * 1024;

type HistoryFile = { readonly version: number; readonly migrations: readonly PastMigration[] };

const HISTORY_FILE = z.object({
  version: z.literal(VERSION),
  migrations: z.array(
    z.object({
      ...{ id: z.string(), sandbox: z.string(), toVm: z.string(), requestedMode: z.string(), mode: z.string() },
      ...{ startedUnixMs: z.number(), endedUnixMs: z.number().nullable() },
      ...{ end: z.enum(['moved', 'stayed', 'halted']).nullable(), code: z.string(), message: z.string() },
    }),
  ),
}) satisfies z.ZodType<HistoryFile>;

export class History {
  readonly #file: string;
  readonly #log: Log;
  readonly #nowUnixMs: () => number;
  #migrations: readonly PastMigration[];

  /** Reads what an earlier run has left; a file that cannot be read is said in the log, and begun anew. */
  constructor(file: string, log: Log, nowUnixMs: () => number) {
    this.#file = file;
    this.#log = log;
    this.#nowUnixMs = nowUnixMs;
    this.#migrations = this.#read();
  }

  /** Oldest first. */
  all(): readonly PastMigration[] {
    return this.#migrations;
  }

  /** @returns what {@link end} knows it by. */
  begin({ name, toVm, mode }: { readonly name: string; readonly toVm: string; readonly mode: string }): string {
    const id = randomUUID();
    const begun = { id, sandbox: name, toVm, requestedMode: mode, mode: '', code: '', message: '' };
    this.#put([...this.#migrations, { ...begun, startedUnixMs: this.#nowUnixMs(), endedUnixMs: null, end: null }]);
    return id;
  }

  /** Once; a second word on the same migration is not heard. */
  end(id: string, ending: Ending): void {
    this.#endWhere((one) => one.id === id, ending);
  }

  /** One that an earlier run of the daemon had begun has been brought to its end. */
  endEarlier(sandbox: string, ending: Ending): void {
    this.#endWhere((one) => one.sandbox === sandbox, ending);
  }

  /** Sandboxes with a migration that is under way, or that an earlier run of the daemon had begun. */
  open(): string[] {
    return this.#migrations.filter(({ end }) => end === null).map(({ sandbox }) => sandbox);
  }

  #endWhere(isMeant: (one: PastMigration) => boolean, ending: Ending): void {
    const endedUnixMs = this.#nowUnixMs();
    this.#put(
      this.#migrations.map((one) => (one.end === null && isMeant(one) ? { ...one, ...ending, endedUnixMs } : one)),
    );
  }

  #read(): readonly PastMigration[] {
    if (!existsSync(this.#file)) return [];
    try {
      return HISTORY_FILE.parse(JSON.parse(readTextFile(this.#file, MAX_BYTES))).migrations;
    } catch (thrown) {
      const why = thrown instanceof z.ZodError ? z.prettifyError(thrown).replaceAll('\n', ' ') : messageOf(thrown);
      this.#log(`${this.#file} is begun anew, it cannot be read: ${why.slice(0, LONGEST_REASON)}`);
      return [];
    }
  }

  /** A disk that is full is no reason to fail a migration: it is known until the daemon ends. */
  #put(migrations: readonly PastMigration[]): void {
    this.#migrations = migrations.slice(-KEPT);
    try {
      mkdirSync(dirname(this.#file), { recursive: true });
      const file: HistoryFile = { version: VERSION, migrations: this.#migrations };
      writeFileSync(`${this.#file}.next`, `${JSON.stringify(file)}\n`, { mode: 0o600 });
      renameSync(`${this.#file}.next`, this.#file);
    } catch (thrown) {
      this.#log(`${this.#file} cannot be written: ${messageOf(thrown)}`);
    }
  }
}

/** @param runsHere whether the sandbox is known to run on here. */
export function failedEnding(cause: unknown, runsHere: boolean): Ending {
  const code = cause instanceof ComicranError ? cause.code : 'migration.failed';
  return { end: runsHere ? 'stayed' : 'halted', mode: '', code, message: messageOf(cause) };
}

/** What the next run of a daemon has found out about a migration of the one before it. */
export function recoveredEnding(end: MigrationEnd, mode: string): Ending {
  if (end === 'moved') return { end, mode, code: '', message: '' };
  const message = 'the daemon of its source ended in the middle of it';
  return { end, mode: '', code: 'peer.died', message };
}
