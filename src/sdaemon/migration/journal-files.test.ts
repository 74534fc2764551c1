import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { advance, type SourceEntry } from '../../migration/journal.ts';
import { JournalFiles } from './journal-files.ts';

const entry: SourceEntry = {
  side: 'source',
  stage: 'sending',
  migration: { id: 'm-1', sandbox: 'sq', mode: 'stopcopy', source: 'vm1', destination: 'vm2', epoch: 7n },
};

test('an entry is what was written last, also for another program, and gone when it is cleared', () => {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-journal-'));
  try {
    using journal = new JournalFiles(directory);
    const read = (): unknown => new JournalFiles(directory).readAll().entries;
    for (const stage of ['sending', 'offered', 'given'] as const) {
      const now = advance(entry, stage);
      journal.write(now);
      assert.deepEqual(read(), [now]);
    }
    assert.ok(journal.ageMs('m-1') >= 0);
    journal.clear('m-1');
    assert.deepEqual(read(), []);
    assert.deepEqual(readdirSync(join(directory, 'migrations')), []);
    journal.write(entry);
    assert.deepEqual(read(), [entry], 'after it was cleared it is another file');
    const long = { ...entry, migration: { ...entry.migration, sandbox: 'x'.repeat(5000) } };
    journal.write(long);
    assert.deepEqual(read(), [long], 'longer than there is room for');
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('what a power failure has left without its contents goes; what is of this boot is an operator’s', () => {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-journal-'));
  try {
    using journal = new JournalFiles(directory);
    const lose = (): void => {
      for (const suffix of ['json', 'process']) writeFileSync(join(directory, 'migrations', `m-2.${suffix}`), '');
    };
    journal.write(entry);
    lose();
    assert.deepEqual(journal.forgetEarlierBoot('one'), [], 'nobody knows of which boot they are');
    journal.note('m-1', { hostPid: 7, startTicks: 9 });
    assert.deepEqual(journal.forgetEarlierBoot('one'), []);
    assert.equal(journal.readAll().failures.length, 1);
    assert.deepEqual(journal.readNote('m-1'), { hostPid: 7, startTicks: 9 });
    assert.deepEqual(journal.forgetEarlierBoot('two'), ['m-2']);
    assert.deepEqual(journal.readAll(), { entries: [entry], failures: [] });
    assert.equal(journal.readNote('m-1'), undefined, 'its process has ended with the machine');
    lose();
    writeFileSync(join(directory, 'migrations/boot'), '');
    assert.deepEqual(journal.forgetEarlierBoot('two'), ['m-2'], 'only a power failure empties it');
    assert.deepEqual(journal.forgetEarlierBoot('two'), []);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
