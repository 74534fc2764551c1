import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseNodeCommand } from './command-line.ts';

const parse = (line: string, options?: string) =>
  parseNodeCommand(
    line.split(' ').filter((word) => word !== ''),
    options,
  );

test('the script is the first word that is no option nor belongs to one', () => {
  const cases: readonly [string, string | undefined][] = [
    ['main.js --port 5', 'main.js'],
    ['--max-semi-space-size=1 main.js', 'main.js'],
    ['-r ./a.js --import ./b.mjs -C x main.js -r c', 'main.js'],
    ['--title t main.js', 'main.js'],
    ['--enable-source-maps main.js', 'main.js'],
    ['-- -odd.js', '-odd.js'],
    ['-e 1', undefined],
    ['-p process.version', undefined],
    ['-', undefined],
    ['', undefined],
  ];
  for (const [line, script] of cases) assert.equal(parse(line).script, script, line);
});

test('what the options name, of the command line and of NODE_OPTIONS', () => {
  const found = parse('-r a --require=b --import c --conditions=x -C y --env-file=.env main.js', '--require z');
  assert.deepEqual(found, {
    script: 'main.js',
    required: ['z', 'a', 'b'],
    imported: ['c'],
    conditions: ['x', 'y'],
    envFiles: ['.env'],
  });
});
