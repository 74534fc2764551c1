/** The journal of migrations: one file an entry, in a directory of the daemon's state. */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../base/errors.ts';
import { readTextFile } from '../../base/text-file.ts';
import { type JournalEntry, journalFromText, journalToText } from '../../migration/journal.ts';
import type { Journal } from '../../migration/ports.ts';
import type { ChannelAddress } from './job.ts';

const SUFFIX = '.json';
const NOTE_SUFFIX = '.process';
/** Which boot of the machine the rest is of. */
const BOOT = 'boot';
/** Far more than an entry or a note has. */
const JOURNAL_MAX_BYTES = 64 * 1024;
/** Room for an entry: less than a page. */
const ENTRY_BYTES = 2048;

/** What the daemon itself needs to find the processes again: the roles' journal knows nothing of pids. */
export type ProcessNote = {
  readonly hostPid: number;
  readonly startTicks: number;
  /** Where the destination listens. The key is of this one migration. */
  readonly channel?: ChannelAddress;
};

type NoteText = Omit<ProcessNote, 'channel'> & {
  readonly channel?: Omit<ChannelAddress, 'key'> & { readonly key: string };
};

export class JournalFiles implements Journal, Disposable {
  readonly #directory: string;
  /** Of the entries that this one has written; by migration. */
  readonly #open = new Map<string, number>();

  constructor(stateDirectory: string) {
    this.#directory = join(stateDirectory, 'migrations');
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
  }

  /**
   * The first time a whole file is put in its place. Later ones replace its contents by one write of the same length,
   * which a program's death does not divide: what a file system does for a new name takes a hundred times as long, and a
   * process may be standing still meanwhile.
   */
  write(entry: JournalEntry): void {
    const { id } = entry.migration;
    const text = Buffer.from(journalToText(entry));
    const padded = Buffer.alloc(Math.max(ENTRY_BYTES, text.length), ' ');
    padded.set(text);
    const descriptor = this.#open.get(id);
    if (descriptor !== undefined && text.length <= ENTRY_BYTES) {
      writeSync(descriptor, padded, 0, padded.length, 0);
      return;
    }
    this.#close(id);
    this.#put(this.#path(id), padded);
    this.#open.set(id, openSync(this.#path(id), 'r+'));
  }

  #close(migrationId: string): void {
    const descriptor = this.#open.get(migrationId);
    if (descriptor !== undefined) closeSync(descriptor);
    this.#open.delete(migrationId);
  }

  clear(migrationId: string): void {
    this.#close(migrationId);
    rmSync(this.#path(migrationId), { force: true });
    rmSync(this.#notePath(migrationId), { force: true });
  }

  /** Milliseconds since the entry was written; 0 where there is none. By the machine's clock, which may have stepped. */
  ageMs(migrationId: string): number {
    const path = this.#path(migrationId);
    return existsSync(path) ? Math.max(0, Date.now() - statSync(path).mtimeMs) : 0;
  }

  /** Beside the entry: which process it speaks of. */
  note(migrationId: string, note: ProcessNote): void {
    const { channel } = note;
    const text = channel === undefined ? undefined : { ...channel, key: Buffer.from(channel.key).toString('hex') };
    this.#put(this.#notePath(migrationId), `${JSON.stringify({ ...note, channel: text })}\n`);
  }

  /** Removes a note whose entry has been cleared: nothing is left that it could be of use for. */
  forgetNote(migrationId: string): void {
    if (!existsSync(this.#path(migrationId))) rmSync(this.#notePath(migrationId), { force: true });
  }

  readNote(migrationId: string): ProcessNote | undefined {
    const path = this.#notePath(migrationId);
    if (!existsSync(path)) return undefined;
    const { hostPid, startTicks, channel } = JSON.parse(readTextFile(path, JOURNAL_MAX_BYTES)) as NoteText;
    if (channel === undefined) return { hostPid, startTicks };
    return { hostPid, startTicks, channel: { ...channel, key: Buffer.from(channel.key, 'hex') } };
  }

  /**
   * Before anything else is done with it in a program: where the machine has been started anew since, the processes have ended
   * with it, so that notes go, and entries whose contents a power failure has taken. By the boot's id, because clocks step.
   *
   * @returns ids of migrations whose entries were removed.
   */
  forgetEarlierBoot(bootId: string): string[] {
    const marker = join(this.#directory, BOOT);
    const written = existsSync(marker) ? readTextFile(marker, JOURNAL_MAX_BYTES).trim() : undefined;
    if (written === bootId) return [];
    // Without a marker nobody knows: what is there is an operator's.
    const removed = written === undefined ? [] : this.#removeLost();
    this.#put(marker, `${bootId}\n`);
    return removed;
  }

  #removeLost(): string[] {
    const removed: string[] = [];
    for (const name of readdirSync(this.#directory).toSorted()) {
      const path = join(this.#directory, name);
      if (name.endsWith(NOTE_SUFFIX)) rmSync(path, { force: true });
      if (!name.endsWith(SUFFIX) || isReadable(path)) continue;
      rmSync(path, { force: true });
      removed.push(name.slice(0, -SUFFIX.length));
    }
    return removed;
  }

  /** Entries of migrations that have not been ended on this side, and what is wrong with those that cannot be read. */
  readAll(): { readonly entries: readonly JournalEntry[]; readonly failures: readonly Error[] } {
    const entries: JournalEntry[] = [];
    const failures: Error[] = [];
    for (const name of readdirSync(this.#directory).toSorted()) {
      if (!name.endsWith(SUFFIX)) continue;
      const path = join(this.#directory, name);
      try {
        entries.push(journalFromText(readTextFile(path, JOURNAL_MAX_BYTES), path));
      } catch (cause) {
        failures.push(new Error(messageOf(cause), { cause }));
      }
    }
    return { entries, failures };
  }

  /** Entries stay as they are. May be repeated. */
  [Symbol.dispose](): void {
    for (const id of [...this.#open.keys()]) this.#close(id);
  }

  #put(path: string, text: string | Uint8Array): void {
    const next = `${path}.next`;
    writeFileSync(next, text, { mode: 0o600 });
    renameSync(next, path);
  }

  #path(migrationId: string): string {
    return join(this.#directory, `${safeName(migrationId)}${SUFFIX}`);
  }

  #notePath(migrationId: string): string {
    return join(this.#directory, `${safeName(migrationId)}${NOTE_SUFFIX}`);
  }
}

function isReadable(path: string): boolean {
  try {
    journalFromText(readTextFile(path, JOURNAL_MAX_BYTES), path);
    return true;
  } catch {
    return false;
  }
}

/** The journal for a destination's role: that jailor has the process comes after its end, and the entry goes only then. */
export class UntilAdopted implements Journal {
  readonly #journal: JournalFiles;
  #over = false;

  constructor(journal: JournalFiles) {
    this.#journal = journal;
  }

  /** The role has nothing left to decide. */
  get isOver(): boolean {
    return this.#over;
  }

  write(entry: JournalEntry): void {
    this.#journal.write(entry);
  }

  clear(): void {
    this.#over = true;
  }
}

/** Ids come from another machine: they must not lead out of the directory. */
export function safeName(id: string): string {
  return id.replaceAll(/[^A-Za-z0-9-]/g, '_').slice(0, 64);
}
