import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ComicranError } from '../base/errors.ts';
import {
  advance,
  DESTINATION_STAGES,
  type JournalEntry,
  journalFromText,
  journalToText,
  type Migration,
  SOURCE_STAGES,
} from './journal.ts';

const migration: Migration = {
  id: 'm-1',
  sandbox: 'square',
  mode: 'stopcopy',
  source: 'vm1',
  destination: 'vm2',
  epoch: 2n ** 60n,
};

test('every entry comes back as it was written', () => {
  const entries: JournalEntry[] = [
    ...SOURCE_STAGES.map((stage) => ({ side: 'source', stage, migration }) as const),
    ...DESTINATION_STAGES.map((stage) => ({ side: 'destination', stage, migration }) as const),
  ];
  for (const entry of entries) {
    const text = journalToText(entry);
    assert.match(text, /^\{.*\}\n$/);
    assert.deepEqual(journalFromText(text, 'a file'), entry);
  }
});

test('a damaged or unknown journal is refused, with its name and what is wrong', () => {
  const good: unknown = JSON.parse(journalToText({ side: 'source', stage: 'offered', migration }));
  assert.ok(typeof good === 'object' && good !== null);
  const cases: readonly [string, RegExp][] = [
    ['', /not JSON/],
    ['{"version":1', /not JSON/],
    ['null', /entry is missing/],
    ['{}', /version undefined, known is 1/],
    [JSON.stringify({ ...good, version: 2 }), /version 2/],
    [JSON.stringify({ ...good, migration: undefined }), /migration is missing/],
    [JSON.stringify({ ...good, stage: 'taking' }), /side source, stage taking/],
    [JSON.stringify({ ...good, side: 'both' }), /side both/],
    ...['id', 'sandbox', 'source', 'destination'].map((key): [string, RegExp] => [
      JSON.stringify({ ...good, migration: { ...migration, epoch: '1', [key]: '' } }),
      new RegExp(`migration.${key} is missing`),
    ]),
    [JSON.stringify({ ...good, migration: { ...migration, epoch: '-1' } }), /epoch is -1/],
    [JSON.stringify({ ...good, migration: { ...migration, epoch: '1', mode: 'warp' } }), /mode is warp/],
  ];
  for (const [text, expected] of cases)
    assert.throws(
      () => journalFromText(text, '/state/m-1.json'),
      (error) => {
        assert.ok(error instanceof ComicranError);
        assert.equal(error.code, 'migration.journal');
        assert.match(error.message, /^\/state\/m-1\.json is not the journal/);
        assert.match(error.message, expected);
        assert.ok(error.hint);
        return true;
      },
    );
});

test('a stage never goes back', () => {
  const entry = { side: 'source', stage: 'offered', migration } as const;
  assert.equal(advance<JournalEntry>(entry, 'given').stage, 'given');
  assert.throws(() => advance<JournalEntry>(entry, 'sending'), /back to sending/);
});
