/**
 * The ways to bring a process over. What each does stands in modes/; the roles do what is the same for all: the
 * greeting, TAKE, the hand-over, and every failure.
 */
export const MODES = [
  /** A silent copy is fed with the same input until it has caught up; the source is stopped for a moment only. */
  'replicated',
  /** Stop, send what it needs at once, go; the rest of its memory follows while it runs. */
  'postcopy',
  /** Send its memory in rounds while it runs, stop, send what was written last, go. */
  'precopy',
  /** Stop, send everything, go. */
  'stopcopy',
] as const;

export type ModeName = (typeof MODES)[number];

/**
 * Packets for the sandbox go to the source until the destination's process has been let out: one that has to be given back
 * instead has had none of them.
 */
export function leadsLate(mode: ModeName): boolean {
  return mode === 'replicated';
}
