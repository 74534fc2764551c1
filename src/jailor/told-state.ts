/** The state of a sandbox, as it is, as it stands in its file, and as everybody is told. */
import { messageOf } from '../base/errors.ts';
import { type SandboxState, writeState } from './state.ts';

/** How long what could not be written waits for the next try. */
const RETRY_MS = 1_000;

export class ToldState {
  readonly #path: string;
  readonly #listeners = new Set<(state: SandboxState) => void>();
  #now: SandboxState;
  #isWritten = false;
  #retry: NodeJS.Timeout | undefined;

  /** @param path of the state file, which is not written yet. */
  constructor(first: SandboxState, path: string) {
    this.#now = first;
    this.#path = path;
  }

  get now(): SandboxState {
    return this.#now;
  }

  /** Called after each transition. @returns what ends it. */
  onState(listener: (state: SandboxState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A transition: written before anybody is told. @throws as {@link write} */
  become(changes: Partial<SandboxState>): void {
    this.note(changes);
    this.write();
    this.tell();
  }

  /** Part of a transition that is still to come. */
  note(changes: Partial<SandboxState>): void {
    this.#now = { ...this.#now, ...changes };
  }

  /**
   * The first time it throws: who cannot be found again is not to begin. Later a full disk stops nothing: the file says what was
   * before until there is room. It is read where this jailor has died, and then says less than could be known, which is that all of
   * the sandbox has ended with it.
   *
   * @throws Error ENOSPC and the like, the first time
   */
  write(): void {
    clearTimeout(this.#retry);
    const isRetry = this.#retry !== undefined;
    this.#retry = undefined;
    try {
      writeState(this.#path, this.#now);
      this.#isWritten = true;
    } catch (thrown) {
      if (!this.#isWritten) throw thrown;
      if (!isRetry) process.stderr.write(`comicran jailor: the state file is behind: ${messageOf(thrown)}\n`);
      this.#retry = setTimeout(() => this.#again(), RETRY_MS).unref();
    }
  }

  /** Once it has exited its directory may be another jailor's. */
  #again(): void {
    if (this.#now.phase !== 'exited') this.write();
  }

  tell(): void {
    for (const listener of this.#listeners) listener(this.#now);
  }
}
