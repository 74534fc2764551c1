/** Of unit tests: those that take longest, which begin first, so that none of them is alone at the end. */
export const SLOW = ['src/migration/replicated.test.ts', 'src/migration/postcopy.test.ts', 'src/sdaemon/logs.test.ts'];

export function slowestFirst(files: readonly string[]): string[] {
  const slow = SLOW.filter((file) => files.includes(file));
  return [...slow, ...files.filter((file) => !slow.includes(file)).toSorted()];
}
