/**
 * Code that has run a few hundred times is compiled, and runs ten times as fast as in its first calls. What has to be
 * quick while a process is stopped runs before.
 */
export const WARM_ROUNDS = 300;
