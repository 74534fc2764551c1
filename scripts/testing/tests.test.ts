/** What is known of test files, and what a person may ask for. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseOptions } from './options.ts';
import { labOf } from './remains.ts';
import { NAMED, rootTest } from './root-tests.ts';
import { SLOW, slowestFirst } from './unit-tests.ts';

const ROOT = join(import.meta.dirname, '../..');

test('every file that is told apart by its name is there', () => {
  assert.deepEqual(
    [...NAMED, ...SLOW].filter((file) => !existsSync(join(ROOT, file))),
    [],
  );
});

test('what counts on the machine is alone; what is in a lab has no name of its own for the machine', () => {
  for (const file of globSync('test/**/*.test.ts', { cwd: ROOT })) {
    const text = readFileSync(join(ROOT, file), 'utf8');
    const { needs } = rootTest(file);
    // Its inventory is of the whole machine; or emulated machines want both CPUs.
    const isAlone = /from '\.\.\/soak\/soak\.ts'|'--vms'/.test(text) && !file.startsWith('test/vms/');
    assert.equal(needs === 'alone', isAlone, file);
    if (needs === 'lab') assert.doesNotMatch(text, /addNamedNetns|'netns', 'add'|debianServers/, file);
  }
});

test('slow unit tests begin first', () => {
  const files = ['src/a.test.ts', ...SLOW.toReversed(), 'src/b.test.ts'];
  assert.deepEqual(slowestFirst(files), [...SLOW, 'src/a.test.ts', 'src/b.test.ts']);
  assert.deepEqual(slowestFirst(['src/b.test.ts']), ['src/b.test.ts']);
});

test('two lanes where there are two CPUs, or as many as are asked for', () => {
  assert.deepEqual(parseOptions([], 1), { unitOnly: false, lanes: 1, words: [] });
  assert.deepEqual(parseOptions([], 2), { unitOnly: false, lanes: 2, words: [] });
  assert.equal(parseOptions([], 64).lanes, 2);
  assert.deepEqual(parseOptions(['--lanes', '1', 'test/chain/'], 2), {
    unitOnly: false,
    lanes: 1,
    words: ['test/chain/'],
  });
  assert.deepEqual(parseOptions(['unit', '--lanes=2'], 1), { unitOnly: true, lanes: 2, words: [] });
  for (const words of [['--lanes'], ['--lanes', '3'], ['--lanes=0'], ['--lanes', 'two']])
    assert.throws(() => parseOptions(words, 2), /--lanes takes 1 or 2/);
  assert.throws(() => parseOptions(['--lane', '2'], 2), /no option '--lane' is known/);
});

test('each lane has a lab of its own, beside a lab that somebody has', () => {
  assert.deepEqual([labOf(1, undefined), labOf(2, ''), labOf(1, 'mine')], ['test1', 'test2', 'mine1']);
  assert.equal(labOf(2, 'eightlet').length, 8);
});
