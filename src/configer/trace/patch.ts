/** What a trace has found, as YAML, and written into a base configuration whose comments and order stay. */
import { isSeq, parseDocument, YAMLSeq } from 'yaml';
import { assert } from '../../base/assert.ts';
import type { Additions } from './additions.ts';

const KEYS = ['executables', 'files', 'directories'] as const;

/** Nothing at all where nothing is missing. */
export function formatAdditions(additions: Additions): string {
  return KEYS.flatMap((key) =>
    additions[key].length === 0 ? [] : [`${key}:\n`, ...additions[key].map((path) => `  - ${JSON.stringify(path)}\n`)],
  )
    .join('')
    .replaceAll(/"([\w/.+@-]+)"/g, '$1');
}

/** @param text a base configuration in YAML or JSON that configer has read. */
export function patched(text: string, additions: Additions): string {
  // Nothing but text: no number or flag that somebody has written comes back in another spelling.
  const document = parseDocument(text, { schema: 'failsafe' });
  assert(document.errors.length === 0, 'the text has been read before');
  for (const key of KEYS) {
    if (additions[key].length === 0) continue;
    const there = document.get(key);
    const list = isSeq(there) ? there : new YAMLSeq();
    if (list !== there) document.set(key, list);
    const isJson = /^\s*\{/.test(text);
    for (const path of additions[key]) {
      const node = document.createNode(path);
      if (isJson) node.type = 'QUOTE_DOUBLE';
      list.add(node);
    }
    if (isJson) list.flow = true;
  }
  return document.toString({ lineWidth: 0, flowCollectionPadding: false });
}
