/** The published JSON Schemas are what the code reads; editors and configer agree on the examples and on what is wrong. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Ajv } from 'ajv';
import fc from 'fast-check';
import { parse } from 'yaml';
import { ComicranError } from '../../src/base/errors.ts';
import type { Schema } from '../../src/base/schema.ts';
import { BASE_CONFIG_SCHEMA, parseBaseConfig } from '../../src/configer/base-config.ts';
import { BASE_CONFIG_KEYS } from '../../src/configer/base-config-keys.ts';
import { PUBLISHED } from '../../src/configer/json-schema.ts';

const home = join(import.meta.dirname, '../..');
const ajv = new Ajv({ strict: true, allowUnionTypes: true, allErrors: true });
const accepts = ajv.compile(PUBLISHED.base());
const examples = globSync('examples/**/*.yaml', { cwd: home }).toSorted();

/** Every key with its schema: `network.ports[].port`. */
function keysOf(schema: Schema<unknown>, prefix = ''): [string, Schema<unknown>][] {
  const below = Object.entries(schema.shape ?? {}).flatMap(([key, field]): [string, Schema<unknown>][] => {
    const path = prefix === '' ? key : `${prefix}.${key}`;
    const inside = field.schema.json['type'] === 'array' ? `${path}[]` : path;
    return [[path, field.schema], ...keysOf(field.schema, inside)];
  });
  return [...below, ...(schema.inner ?? []).flatMap((inner) => keysOf(inner, prefix))];
}

test('the published files are what the schemas in the code give', () => {
  for (const [which, make] of Object.entries(PUBLISHED)) {
    const file = `schema/${which}-config.schema.json`;
    const published = readFileSync(join(home, file), 'utf8');
    const hint = `write it anew: bin/comicran configer schema ${which} > ${file}`;
    assert.equal(published, `${JSON.stringify(make(), null, 2)}\n`, hint);
  }
});

test('every key has a text and an example that is accepted, and no text is of a key that is none', () => {
  const keys = keysOf(BASE_CONFIG_SCHEMA);
  assert.deepEqual(Object.keys(BASE_CONFIG_KEYS).toSorted(), [...new Set(keys.map(([key]) => key))].toSorted());
  for (const [key, schema] of keys) {
    const { about, example } = BASE_CONFIG_KEYS[key]!;
    assert.match(about, /^[\p{Lu}\p{Ll}].*\.$/u, key);
    // As configer reads it: modes and the like are text.
    schema.read(example, [key], (problem) => assert.fail(`${key}: ${JSON.stringify(problem)}`));
  }
});

test('the examples are accepted, and say where their schema is', () => {
  assert.ok(examples.length >= 8);
  for (const file of examples) {
    const text = readFileSync(join(home, file), 'utf8');
    assert.match(text, /^# yaml-language-server: \$schema=(?:\.\.\/){1,2}schema\/base-config\.schema\.json\n/, file);
    assert.ok(accepts(parse(text)), `${file}: ${ajv.errorsText(accepts.errors)}`);
  }
});

test('what is wrong to configer by its keys is wrong in an editor too', () => {
  const least = { id: 'a', process: { executable: '/a' }, network: { address: '10.0.0.1' } };
  assert.ok(accepts(least));
  const wrong = [
    { ...least, wriatble: [] },
    { id: 'a', network: least.network },
    { ...least, id: 'A!' },
    { ...least, process: { executable: 5 } },
    { ...least, files: [{ src: '/x' }] },
    { ...least, network: { address: '300.1.1.1' } },
    { ...least, network: { address: '10.0.0.1', ports: [{ port: 70000 }] } },
    { ...least, network: { address: '10.0.0.1', ports: [{ port: 1, protocol: 'sctp' }] } },
    { ...least, etc: 'all' },
  ];
  for (const one of wrong) assert.equal(accepts(one), false, JSON.stringify(one));
});

test('what configer accepts no editor marks', () => {
  const values = fc.anything({
    values: [fc.constantFrom('/a', '0755', 755, 'x', true, null, 5, '10.0.0.1', 'udp')],
    maxDepth: 2,
  });
  const names = keysOf(BASE_CONFIG_SCHEMA).map(([key]) => key.split('.').at(-1)!.replace('[]', ''));
  const config = fc
    .record({ id: fc.constant('a'), process: fc.dictionary(fc.constantFrom(...names), values) })
    .chain((base) =>
      fc
        .dictionary(fc.constantFrom(...names), values)
        .map((more) => ({ network: { address: '10.0.0.1' }, ...more, ...base })),
    );
  fc.assert(
    fc.property(config, (value) => {
      const text = JSON.stringify(value);
      try {
        parseBaseConfig(text, 'x');
      } catch (thrown) {
        assert.ok(thrown instanceof ComicranError);
        return;
      }
      assert.ok(accepts(JSON.parse(text)), `${text}: ${ajv.errorsText(accepts.errors)}`);
    }),
    { numRuns: 300 },
  );
});
