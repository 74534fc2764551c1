/** The state of a sandbox, as it is, as it stands in its file, and as everybody is told. */
import { type SandboxState, writeState } from './state.ts';

export class ToldState {
  readonly #path: string;
  readonly #listeners = new Set<(state: SandboxState) => void>();
  #now: SandboxState;

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

  /** A transition: written before anybody is told. */
  become(changes: Partial<SandboxState>): void {
    this.note(changes);
    this.write();
    this.tell();
  }

  /** Part of a transition that is still to come. */
  note(changes: Partial<SandboxState>): void {
    this.#now = { ...this.#now, ...changes };
  }

  write(): void {
    writeState(this.#path, this.#now);
  }

  tell(): void {
    for (const listener of this.#listeners) listener(this.#now);
  }
}
