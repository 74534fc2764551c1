/**
 * The ways to bring a process over. What each does stands in modes/; the roles do what is the same for all: the
 * greeting, TAKE, the hand-over, and every failure.
 */
export const MODES = [
  /** Stop, send everything, go. */
  'stopcopy',
] as const;

export type ModeName = (typeof MODES)[number];
