/** Examples under `--help`, as they are typed in a shell; the prompt takes them with and without the program's name. */
export const PROGRAM = 'comicran smanager';

/** @param lines without the program's name */
export function examples(...lines: readonly string[]): string {
  return `\nExample${lines.length === 1 ? '' : 's'}:\n${lines.map((line) => `  ${PROGRAM} ${line}\n`).join('')}`;
}
