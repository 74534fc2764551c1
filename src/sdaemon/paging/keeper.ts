/**
 * Whoever holds the userfaultfds of a process beside this program, so that a killed daemon does not turn missing pages into
 * zeros: as long as one copy is open, whoever touches a missing page waits for a new daemon to adopt it.
 */
export interface Keeper {
  /** Takes a copy of a descriptor of this program. @param name of it, to find it again. */
  keep(name: string, descriptor: number): Promise<void>;
  /** Closes the copy; nothing happens where there is none. */
  drop(name: string): Promise<void>;
}
