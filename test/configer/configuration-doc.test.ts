/** docs/configuration.md names every key of both schemas, no others, and its example and defaults are true. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { FULL_CONFIG_SCHEMA } from '../../src/base/full-config.ts';
import type { Schema } from '../../src/base/schema.ts';
import { BASE_CONFIG_SCHEMA, parseBaseConfig } from '../../src/configer/base-config.ts';

const document = readFileSync(join(import.meta.dirname, '../../docs/configuration.md'), 'utf8');
const [basePart, fullPart] = ['## Base configuration', '## Full configuration'].map((title) => {
  const start = document.indexOf(`${title}\n`);
  assert.ok(start >= 0, title);
  const end = document.indexOf('\n## ', start + 1);
  return document.slice(start, end);
});

/** `process`, `process.executable`, `network.ports[].port`, … */
function keysOf(schema: Schema<unknown>, prefix = ''): string[] {
  const below = Object.entries(schema.shape ?? {}).flatMap(([key, field]) => {
    const path = prefix === '' ? key : `${prefix}.${key}`;
    const isList = field.schema.allowed.startsWith('a list');
    return [path, ...keysOf(field.schema, isList ? `${path}[]` : path)];
  });
  return [...below, ...(schema.inner ?? []).flatMap((inner) => keysOf(inner, prefix))];
}

/** The first column of the tables, and what the full part says in passing. */
function documentedKeys(part: string): Set<string> {
  const rows = part.split('\n').filter((line) => line.startsWith('| `'));
  return new Set(rows.flatMap((row) => [...row.split('|')[1]!.matchAll(/`([^`]+)`/g)].map((match) => match[1]!)));
}

test('every key of a base configuration is in the document, and no others', () => {
  const keys = new Set(keysOf(BASE_CONFIG_SCHEMA));
  assert.ok(keys.has('network.ports[].port') && keys.has('files[].mode') && keys.has('process.executable.source'));
  assert.deepEqual([...documentedKeys(basePart!)].toSorted(), [...keys].toSorted());
});

test('every key of a full configuration is in its part of the document', () => {
  const missing = keysOf(FULL_CONFIG_SCHEMA).filter((key) => !fullPart!.includes(`\`${key}\``));
  assert.deepEqual(missing, []);
  const known = new Set(keysOf(FULL_CONFIG_SCHEMA));
  assert.deepEqual(
    [...documentedKeys(fullPart!)].filter((key) => !known.has(key)),
    [],
  );
});

test('the example is a base configuration', () => {
  const example = /```yaml\n(id: names[\s\S]*?)```/.exec(document)?.[1];
  assert.equal(parseBaseConfig(example!, 'example').id, 'names');
});

test('defaults are those that the document names', () => {
  const row = (key: string): string =>
    new RegExp(`^\\| \`${key.replaceAll(/[[\].]/g, '\\$&')}\` \\| ([^|]*) \\|`, 'm').exec(basePart!)?.[1] ?? '';
  for (const [key, field] of Object.entries(BASE_CONFIG_SCHEMA.shape ?? {})) {
    if (field.fallback !== undefined) {
      const text = typeof field.fallback === 'string' ? field.fallback : JSON.stringify(field.fallback);
      assert.equal(row(key), `\`${text}\``, key);
    } else if (field.presence === 'required') assert.equal(row(key), '–', key);
  }
});
