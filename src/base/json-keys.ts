/** What JSON.parse does not tell of a text that it has read: whether a key stands twice in one mapping, and where. */

export type RepeatedKey = { readonly key: string; readonly offset: number };

const [QUOTE, BACKSLASH, COLON, OPEN, CLOSE] = [0x22, 0x5c, 0x3a, 0x7b, 0x7d];
const [OPEN_LIST, CLOSE_LIST] = [0x5b, 0x5d];

/** @param text JSON that JSON.parse has accepted. @returns the second of two equal keys, the first of those there are. */
export function repeatedKey(text: string): RepeatedKey | undefined {
  /** The keys of each mapping that the walk is in; null for a list. */
  const within: (Set<string> | null)[] = [];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === OPEN) within.push(new Set());
    else if (code === OPEN_LIST) within.push(null);
    else if (code === CLOSE || code === CLOSE_LIST) within.pop();
    if (code !== QUOTE) continue;
    const end = endOfString(text, at);
    const keys = within.at(-1);
    if (keys instanceof Set && isBeforeColon(text, end)) {
      const written = text.slice(at + 1, end - 1);
      const key = written.includes('\\') ? (JSON.parse(`"${written}"`) as string) : written;
      if (keys.has(key)) return { key, offset: at };
      keys.add(key);
    }
    at = end - 1;
  }
  return undefined;
}

/** Line and column of an offset, from 1. */
export function placeIn(text: string, offset: number): { readonly line: number; readonly column: number } {
  const before = text.slice(0, offset);
  return { line: before.split('\n').length, column: offset - before.lastIndexOf('\n') };
}

/** @returns the offset behind the closing quote. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === BACKSLASH) at++;
    else if (code === QUOTE) return at + 1;
  }
  return text.length;
}

function isBeforeColon(text: string, from: number): boolean {
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === COLON) return true;
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return false;
  }
  return false;
}
