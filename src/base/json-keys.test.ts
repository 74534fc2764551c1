import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { placeIn, repeatedKey } from './json-keys.ts';

test('the second of two equal keys is found, however it is written', () => {
  assert.deepEqual(repeatedKey('{"a": 1, "b": {"a": 2}, "a": 3}'), { key: 'a', offset: 24 });
  assert.deepEqual(repeatedKey('[{"x":{}}, {"\\u0061":[{"a":1}], "a":"a"}]'), { key: 'a', offset: 32 });
  assert.deepEqual(repeatedKey('{"q\\"": "q\\"", "r": ["r", "r"], "q\\"" : 0}'), { key: 'q"', offset: 32 });
  assert.deepEqual(placeIn('{\n  "a": 1,\n  "a": 2\n}', 14), { line: 3, column: 3 });
});

test('what JSON.stringify writes has none', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(undefined, 1, '\t'), (value, indent) => {
      assert.equal(repeatedKey(JSON.stringify(value, null, indent)), undefined);
    }),
  );
});

test('a key that is put in once more is found', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1, maxKeys: 5 }), (value) => {
      const text = JSON.stringify(value);
      const [key] = Object.keys(value);
      assert.equal(repeatedKey(`${text.slice(0, -1)},${JSON.stringify(key)}:0}`)?.key, key);
    }),
  );
});
