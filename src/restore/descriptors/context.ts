import { ComicranError, messageOf } from '../../base/errors.ts';
import { closeDescriptor, duplicateFrom, openPidfd } from '../../linux/pidfd.ts';
import type { Tracee } from '../../linux/tracee.ts';
import type { Owners } from './owners.ts';

export type RecreateContext = {
  /** A stopped thread of the new process, the only one, with an agent installed. */
  readonly tracee: Tracee;
  /** For each name of an inherited pipe the number that it has in the new process now. */
  readonly inherited: ReadonlyMap<string, number>;
  /** Absent: what is made belongs to this program, and ids inside are those outside. */
  readonly owners?: Owners;
};

/** Descriptors of the new process in this one: the same open file descriptions. */
export class Copies {
  readonly #pidfd: number;
  readonly #open: number[] = [];

  constructor(pid: number) {
    this.#pidfd = openPidfd(pid);
  }

  /** Stays open until {@link close}. */
  of(number: number): number {
    const copy = duplicateFrom(this.#pidfd, number);
    this.#open.push(copy);
    return copy;
  }

  close(): void {
    for (const copy of this.#open) closeDescriptor(copy);
    closeDescriptor(this.#pidfd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** What a failure is told about: the first of the numbers that a description will have. */
export type Subject = { readonly number: number };

/** @param what cannot be done: `open /var/lib/state`. */
export function restoreError(subject: Subject, what: string, cause?: unknown): ComicranError {
  const reason = cause === undefined ? '' : `: ${messageOf(cause)}`;
  return new ComicranError(
    'process.unsupported',
    `descriptor ${subject.number} cannot be recreated: ${what}${reason}`,
    {
      cause,
      hint: 'Compare the sandbox and the kernel of this machine with those of the source; the process runs there.',
    },
  );
}

/** Runs a step whose failure is about one descriptor. */
export function step<T>(subject: Subject, what: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof ComicranError) throw error;
    throw restoreError(subject, what, error);
  }
}
