/** What may have been meant by a word that nobody knows. */

/** Insertions, deletions, changes and swaps of neighbours that make one word of the other. */
function distance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, index) => index)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const changed = rows[i - 1]![j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped =
        i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? rows[i - 2]![j - 2]! + 1 : changed;
      row.push(Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, changed, swapped));
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}

/** @returns undefined: none is near enough to be meant, or two are as near */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const most = Math.max(1, Math.floor(word.length / 3));
  const [best, next] = known
    .map((name) => ({ name, far: distance(word.toLowerCase(), name.toLowerCase()) }))
    .filter(({ far }) => far <= most)
    .toSorted((a, b) => a.far - b.far);
  if (best !== undefined) return best.far === next?.far ? undefined : best.name;
  const begun = word.length > 1 ? known.filter((name) => name.startsWith(word)) : [];
  return begun.length === 1 ? begun[0] : undefined;
}

/**
 * For the hint of an error: `Did you mean 'square'? Known are: dnsmasq, square.`
 * @param what begins the list: `Known are`
 */
export function suggestion(word: string, known: readonly string[], what: string): string {
  const near = nearest(word, known);
  const list = known.length === 0 ? `${what}: none.` : `${what}: ${known.join(', ')}.`;
  return near === undefined ? list : `Did you mean '${near}'? ${list}`;
}
