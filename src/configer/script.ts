/** The first line of a script: what the kernel starts in its place (fs/binfmt_script.c). */

export type ScriptStart = {
  /** As written. */
  readonly interpreter: string;
  /** Everything behind it is one argument. */
  readonly argument: string | undefined;
};

/** The kernel looks at this many bytes of a file (BINPRM_BUF_SIZE). */
export const SCRIPT_START_BYTES = 256;

/** @param start the first {@link SCRIPT_START_BYTES} of the file. @returns undefined if it does not begin with `#!`. */
export function parseScriptStart(start: Buffer): ScriptStart | undefined {
  if (start.toString('latin1', 0, 2) !== '#!') return undefined;
  const newline = start.indexOf(0x0a);
  const line = start.toString('utf8', 2, newline === -1 ? start.length : newline).split('\0')[0]!;
  // Blanks are spaces and tabs alone: a carriage return belongs to the name, as it does to the kernel.
  const match = /^[ \t]*([^ \t]*)(?:[ \t]+(.*?))?[ \t]*$/s.exec(line);
  const argument = match?.[2];
  return { interpreter: match?.[1] ?? '', argument: argument === '' ? undefined : argument };
}

/**
 * The program that `env` starts: `#!/usr/bin/env node`, `#!/usr/bin/env -S NODE_ENV=x node --flag`.
 *
 * @returns undefined where the argument names none.
 */
export function programOfEnv(argument: string | undefined): string | undefined {
  if (argument === undefined) return undefined;
  const split = /^(?:-[a-zA-Z]*S|--split-string[= ])\s*(.*)$/s.exec(argument);
  // Without -S the kernel's one argument is one word.
  const words = split === null ? [argument] : split[1]!.split(/\s+/).filter((word) => word !== '');
  return words.find((word) => !word.startsWith('-') && !word.includes('='));
}
