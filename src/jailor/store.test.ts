import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { placeFromStore, removeAbandoned, removeUnused } from './store.ts';

describe('the store', () => {
  let directory = '';
  let store = '';
  let source = '';
  const content = 'a'.repeat(3_000_000);
  const wanted = (mode = 0o755): Parameters<typeof placeFromStore>[1] => ({
    source,
    sha256: createHash('sha256').update(content).digest('hex'),
    size: content.length,
    mode,
  });

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'comicran-store-'));
    store = join(directory, 'store');
    source = join(directory, 'source');
    writeFileSync(source, content);
  });
  after(() => rmSync(directory, { recursive: true }));

  test('takes a file in once and links it from then on', () => {
    placeFromStore(store, wanted(), join(directory, 'one'));
    placeFromStore(store, wanted(), join(directory, 'two'));
    assert.equal(readFileSync(join(directory, 'two'), 'utf8'), content);
    assert.equal(statSync(join(directory, 'one')).ino, statSync(join(directory, 'two')).ino);
    assert.equal(statSync(join(directory, 'one')).mode & 0o7777, 0o755);
    assert.equal(readdirSync(store).length, 1);
  });

  test('the same content with other permission bits is another file', () => {
    placeFromStore(store, wanted(0o644), join(directory, 'three'));
    assert.equal(statSync(join(directory, 'three')).mode & 0o7777, 0o644);
    assert.equal(statSync(join(directory, 'one')).mode & 0o7777, 0o755);
  });

  test('what is in the store does not need its source', () => {
    placeFromStore(store, { ...wanted(), source: '/absent' }, join(directory, 'four'));
  });

  test('a source that is not what it should be is named, and nothing stays', () => {
    const other = join(directory, 'other');
    const place = (change: object): void =>
      placeFromStore(store, { ...wanted(), sha256: 'f'.repeat(64), ...change }, join(directory, 'five'));
    writeFileSync(other, 'short');
    const before = readdirSync(store);
    assert.throws(() => place({}), { code: 'config.changed-file', message: /source has changed: its sha256 is/ });
    assert.throws(() => place({ source: other }), {
      code: 'config.changed-file',
      message: /it has 5 bytes, not 3000000/,
    });
    assert.throws(() => place({ source: directory }), { code: 'config.changed-file', message: /not a regular file/ });
    assert.throws(() => place({ source: '/absent' }), { code: 'config.missing-file', message: /\/absent/ });
    assert.deepEqual(readdirSync(store), before);
  });

  test('what a jailor that is gone had begun is removed, what one at work has begun is not', () => {
    mkdirSync(store, { recursive: true });
    const stat = readFileSync('/proc/self/stat', 'latin1');
    const mine = `incoming-${process.pid}-${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}-x`;
    for (const name of ['incoming-999999999-1-x', mine]) writeFileSync(join(store, name), '');
    removeAbandoned(store);
    assert.deepEqual(
      readdirSync(store).filter((name) => name.startsWith('incoming')),
      [mine],
    );
    removeAbandoned(join(directory, 'absent'));
  });

  test('what nobody uses is removed, counted, and taken in again when it is needed', () => {
    const own = join(directory, 'own-store');
    assert.deepEqual(removeUnused(own), { files: 0, bytes: 0 });
    placeFromStore(own, wanted(0o755), join(directory, 'used'));
    placeFromStore(own, wanted(0o700), join(directory, 'unused'));
    rmSync(join(directory, 'unused'));
    writeFileSync(join(own, 'incoming-1-1-x'), 'another jailor is at it');
    assert.deepEqual(removeUnused(own), { files: 1, bytes: content.length });
    assert.equal(readdirSync(own).length, 2);
    placeFromStore(own, wanted(0o700), join(directory, 'unused'));
    assert.deepEqual(removeUnused(own), { files: 0, bytes: 0 });
  });
});
