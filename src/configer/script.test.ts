import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseScriptStart, programOfEnv } from './script.ts';

const CASES: readonly [string, string, string | undefined][] = [
  ['#!/bin/sh\n', '/bin/sh', undefined],
  ['#!/bin/sh', '/bin/sh', undefined],
  ['#! \t/bin/sh  \t-e -x \n', '/bin/sh', '-e -x'],
  ['#!/bin/sh\necho\n', '/bin/sh', undefined],
  ['#!/bin/sh\r\n', '/bin/sh\r', undefined],
  ['#!/usr/bin/env -S node --x\n', '/usr/bin/env', '-S node --x'],
  ['#!\n', '', undefined],
  ['#!/bin/sh\0garbage\n', '/bin/sh', undefined],
];
for (const [start, interpreter, argument] of CASES) {
  test(`the first line ${JSON.stringify(start)}`, () => {
    assert.deepEqual(parseScriptStart(Buffer.from(start)), { interpreter, argument });
  });
}

test('what does not begin with #! is no script', () => {
  for (const text of ['', '#', ' #!/bin/sh', '\x7fELF']) assert.equal(parseScriptStart(Buffer.from(text)), undefined);
});

test('env starts its first word that is neither an option nor an assignment', () => {
  assert.equal(programOfEnv('node'), 'node');
  assert.equal(programOfEnv('-S node --flag'), 'node');
  assert.equal(programOfEnv('-S A=1 -i node'), 'node');
  assert.equal(programOfEnv('--split-string=node x'), 'node');
  assert.equal(programOfEnv(undefined), undefined);
  assert.equal(programOfEnv('-i'), undefined);
});

test('any first bytes are a start or none', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 256 }), (bytes) => {
      const script = parseScriptStart(Buffer.concat([Buffer.from('#!'), Buffer.from(bytes)]).subarray(0, 256));
      assert.ok(script !== undefined && !/[ \t]/.test(script.interpreter));
      programOfEnv(script.argument);
    }),
  );
});
