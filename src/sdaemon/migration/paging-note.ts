/** What a daemon that starts again needs to go on with a `postcopy` migration: where pages are to be had, and under which key. */
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ChannelAddress } from './job.ts';
import { safeName } from './journal-files.ts';

export type PagingNote = {
  /** Source: its page server. Destination: the same one, as it has been told. */
  readonly pages: ChannelAddress;
};

type AddressText = Omit<ChannelAddress, 'key'> & { readonly key: string };
type NoteText = { readonly pages: AddressText };

export class PagingFiles {
  readonly #base: string;

  constructor(stateDirectory: string, migrationId: string) {
    this.#base = join(stateDirectory, 'migrations', safeName(migrationId));
  }

  /** The file that keeps which pages are missing, and the name under which jailor has the userfaultfd. */
  get missing(): string {
    return `${this.#base}.missing`;
  }

  write({ pages }: PagingNote): void {
    const text: NoteText = { pages: toText(pages) };
    this.#put(`${JSON.stringify(text)}\n`);
  }

  /** At once, as the journal: a process may be standing still, and threads of Node's that would do it are slow to wake. */
  #put(text: string): void {
    const next = `${this.#path}.next`;
    writeFileSync(next, text, { mode: 0o600 });
    renameSync(next, this.#path);
  }

  read(): PagingNote | undefined {
    if (!existsSync(this.#path)) return undefined;
    const { pages } = JSON.parse(readFileSync(this.#path, 'utf8')) as NoteText;
    return { pages: fromText(pages) };
  }

  /** The migration has ended on this side. */
  remove(): void {
    rmSync(this.#path, { force: true });
    rmSync(this.missing, { force: true });
  }

  get #path(): string {
    return `${this.#base}.paging`;
  }
}

function toText({ key, ...address }: ChannelAddress): AddressText {
  return { ...address, key: Buffer.from(key).toString('hex') };
}

function fromText({ key, ...address }: AddressText): ChannelAddress {
  return { ...address, key: Buffer.from(key, 'hex') };
}
