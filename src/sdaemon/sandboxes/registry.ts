/** The sandboxes of this machine: what each is doing, and the only places where that changes. */
import { assert } from '../../base/assert.ts';
import { ComicranError } from '../../base/errors.ts';
import type { Entry, EntryState } from './entry.ts';

export class Registry {
  readonly #entries = new Map<string, Entry>();

  /** @throws ComicranError sandbox.exists. A sandbox that has ended gives its name up. */
  reserve(id: string, entry: Extract<Entry, { state: 'creating' | 'arriving' }>): void {
    const present = this.#entries.get(id);
    if (present !== undefined && present.state !== 'stopped') {
      throw new ComicranError('sandbox.exists', `a sandbox '${id}' is on this machine already (${present.state})`, {
        hint: `End it with 'comicran smanager terminate ${id}', or choose another id.`,
      });
    }
    this.#entries.set(id, entry);
  }

  set(id: string, entry: Entry): void {
    this.#entries.set(id, entry);
  }

  remove(id: string): void {
    this.#entries.delete(id);
  }

  find(id: string): Entry | undefined {
    return this.#entries.get(id);
  }

  /** @throws ComicranError sandbox.unknown */
  get(id: string): Entry {
    const entry = this.#entries.get(id);
    if (entry !== undefined) return entry;
    throw new ComicranError('sandbox.unknown', `no sandbox '${id}' is on this machine`, {
      hint: "'comicran smanager ps' lists the sandboxes of all machines.",
    });
  }

  /** The sandbox, which must be in this state. @throws ComicranError sandbox.unknown, sandbox.not-running, migration.busy */
  expect<State extends EntryState>(id: string, state: State): Extract<Entry, { state: State }> {
    const entry = this.get(id);
    if (isIn(entry, state)) return entry;
    if (entry.state === 'migrating' || entry.state === 'arriving') {
      throw new ComicranError('migration.busy', `'${id}' is in a migration (${entry.state})`, {
        hint: `Wait for its end, or give it up with 'comicran smanager abort ${id}'.`,
      });
    }
    throw new ComicranError('sandbox.not-running', `'${id}' is ${entry.state}, not ${state}`);
  }

  /** Changes the state of a sandbox that is known to be in `from`. */
  move<From extends EntryState>(
    id: string,
    from: From,
    change: (entry: Extract<Entry, { state: From }>) => Entry,
  ): void {
    const entry = this.get(id);
    assert(isIn(entry, from), `'${id}' is ${entry.state} where ${from} was expected`);
    this.#entries.set(id, change(entry));
  }

  all(): readonly (readonly [string, Entry])[] {
    return [...this.#entries].toSorted(([a], [b]) => a.localeCompare(b));
  }
}

function isIn<State extends EntryState>(entry: Entry, state: State): entry is Extract<Entry, { state: State }> {
  return entry.state === state;
}
