import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ComicranError } from '../../base/errors.ts';
import { failedEnding, History, recoveredEnding } from './history.ts';

type Kit = { readonly open: () => History; readonly file: string; readonly said: string[] };

function withFile(use: (kit: Kit) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-history-'));
  const file = join(directory, 'state/history.json');
  const said: string[] = [];
  let now = 1000;
  try {
    use({
      open: () =>
        new History(
          file,
          (text) => void said.push(text),
          () => now++,
        ),
      file,
      said,
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const REQUEST = { name: 'square', toVm: 'vm2', mode: '' };

test('a migration is told of from its beginning, and its end once', () => {
  withFile(({ open }) => {
    const history = open();
    const id = history.begin(REQUEST);
    assert.deepEqual(history.open(), ['square']);
    history.end(id, { end: 'moved', mode: 'replicated', code: '', message: '' });
    history.end(id, failedEnding(new Error('too late'), true));
    const [only] = history.all();
    assert.deepEqual(
      [only?.end, only?.mode, only?.startedUnixMs, only?.endedUnixMs, only?.message],
      ['moved', 'replicated', 1000, 1001, ''],
    );
    assert.deepEqual(history.open(), []);
  });
});

test('it outlives the daemon, which is told afterwards how the open ones have ended', () => {
  withFile(({ open }) => {
    const before = open();
    before.end(before.begin(REQUEST), failedEnding(new ComicranError('aborted', 'by hand'), true));
    before.begin(REQUEST);
    const after = open();
    assert.deepEqual(after.open(), ['square']);
    after.endEarlier('square', recoveredEnding('moved', 'stopcopy'));
    assert.deepEqual(
      open()
        .all()
        .map(({ end, code, mode }) => [end, code, mode]),
      [
        ['stayed', 'aborted', ''],
        ['moved', '', 'stopcopy'],
      ],
    );
  });
});

test('only the last are kept, and a file that cannot be read is begun anew', () => {
  withFile(({ open, file, said }) => {
    const history = open();
    for (let round = 0; round < 60; round++) history.begin({ ...REQUEST, name: `s${round}` });
    assert.equal(open().all().length, 50);
    assert.equal(open().all().at(-1)?.sandbox, 's59');
    const damaged = ['{"version":9}', '{"version":1,"migrations":5}', '{"version":1,"migrations":[null]}', '', 'x'];
    for (const [index, text] of [...damaged, ' '.repeat(5_000_000)].entries()) {
      writeFileSync(file, text);
      assert.deepEqual(open().all(), []);
      assert.match(said[index] ?? '', /is begun anew, it cannot be read: .{5,300}$/);
    }
  });
});
