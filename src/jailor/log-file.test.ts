import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { LogFile, nextLogFile } from './log-file.ts';

const entry = (n: number): object => ({ n });
const BYTES = '{"n":0}\n'.length;

describe('the files of a log', () => {
  let directory = '';
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'comicran-log-file-'));
  });
  after(() => rmSync(directory, { recursive: true }));

  const numbers = (path: string): number[] =>
    readFileSync(path, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => (JSON.parse(line) as { n: number }).n);

  test('are full to the last whole line, and are as many as there may be, also of what comes at once', () => {
    const path = join(directory, 'log');
    const file = new LogFile(path, { maxFileBytes: 3 * BYTES + 1, files: 3 });
    assert.equal(file.append([0, 1, 2, 3, 4, 5, 6, 7, 8].map(entry)), 9);
    file.append([9].map(entry));
    file.close();
    assert.deepEqual([numbers(`${path}.2`), numbers(`${path}.1`), numbers(path)], [[3, 4, 5], [6, 7, 8], [9]]);
    assert.ok(!existsSync(`${path}.3`) && !existsSync(nextLogFile(path)));
  });

  test('take nothing while the disk is full', () => {
    const path = join(directory, 'full');
    symlinkSync('/dev/full', path);
    const file = new LogFile(path, { maxFileBytes: 1000, files: 2 });
    assert.equal(file.append([1, 2].map(entry)), 0);
    file.close();
  });

  test('one that cannot be moved aside stays open: its descriptor does not become somebody else’s', () => {
    const path = join(directory, 'stuck');
    const file = new LogFile(path, { maxFileBytes: 2 * BYTES, files: 2 });
    mkdirSync(nextLogFile(path));
    assert.equal(file.append([0, 1, 2].map(entry)), 2);
    // What the kernel gives next has the lowest number that is free.
    const other = join(directory, 'other');
    const fd = openSync(other, 'w');
    assert.equal(file.append([3, 4].map(entry)), 0);
    assert.equal(readFileSync(other, 'utf8'), '');
    closeSync(fd);
    rmdirSync(nextLogFile(path));
    assert.equal(file.append([5].map(entry)), 1);
    file.close();
    assert.deepEqual([numbers(`${path}.1`), numbers(path)], [[0, 1], [5]]);
  });
});
