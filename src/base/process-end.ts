/** How a process has ended, in a form that is told from machine to machine. */

/** At most one of the two; neither: it was not seen how. */
export type ProcessEnd = {
  readonly code: number | null;
  /** With SIG in front. */
  readonly signal: string | null;
};

/** Behind "has ended". */
export function describeEnd({ code, signal }: ProcessEnd): string {
  if (signal !== null) return `by ${signal}`;
  return code === null ? 'how is not known' : `with exit code ${code}`;
}

/** What an operator can do about a process that nobody has asked to end; a full sentence. */
export function hintOfEnd({ signal }: ProcessEnd, machine: string): string {
  return signal === 'SIGKILL'
    ? `Somebody has killed it at ${machine}, or the kernel has, for want of memory ('dmesg' says so there).`
    : `See what it has said with 'comicran smanager logs', and at ${machine} with 'dmesg'.`;
}
