/** The book-keeping of a soak. Needs no root. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ClientFigures, MigrationFigures } from '../../src/lab/demo/figures.ts';
import { clientProblems } from './soak.ts';
import { addClient, addMigration, dropState, loadState, noTotals, renderTotals, saveState } from './totals.ts';

const REPORT: ClientFigures = {
  ...{ sent: 10, answered: 10, lost: 0, duplicated: 0, wrong: 0, reordered: 0, exactlyOnce: true, maxGapMs: 1 },
  counter: { first: 41, last: 50, missing: 0, repeated: 0 },
  latencyUs: { p50: 1, p99: 1, p999: 1, max: 1 },
  receiveDrops: 0,
};

const moved = (mode: string, more: Partial<MigrationFigures> = {}): MigrationFigures =>
  ({ mode, stopUs: 1500, freezeUs: null, cutoverUs: null, reason: null, atRisk: 0, ...more }) as MigrationFigures;

test('a request that was processed between two client runs, or twice, or not at all, is noticed', () => {
  assert.deepEqual(clientProblems(REPORT, 40), []);
  assert.equal(clientProblems(REPORT, 39).length, 1, 'something was processed behind the run before');
  assert.equal(clientProblems({ ...REPORT, counter: { first: 41, last: 51, missing: 0, repeated: 0 } }, 40).length, 1);
  assert.equal(clientProblems({ ...REPORT, counter: null }, 40).length, 1);
  assert.equal(clientProblems({ ...REPORT, lost: 1 }, 40).length, 1);
  assert.equal(clientProblems({ ...REPORT, exactlyOnce: false }, 40).length, 1);
});

test('sums are kept by the mode that was used, over a session that ended in between', () => {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-soak-'));
  try {
    const file = join(directory, 'state');
    assert.equal(loadState(file), undefined);
    const totals = noTotals();
    addMigration(totals, moved('replicated', { freezeUs: 1100, cutoverUs: 400, inputsReplayed: 7 }));
    addMigration(totals, moved('stopcopy', { reason: 'the copy diverged' }));
    addClient(totals, REPORT);
    saveState(file, { version: 1, count: 10, rate: 2000, modes: [], totals });
    const again = loadState(file)!.totals;
    addMigration(again, moved('replicated', { freezeUs: 900, cutoverUs: 300 }));
    addClient(again, REPORT);
    assert.equal(again.migrations, 3);
    assert.deepEqual(again.byMode['replicated']?.freezeUs, [1100, 900]);
    assert.equal(again.client.sent, 20);
    assert.match(
      renderTotals(again),
      /replicated +2 .*900 µs \/ 1\.1 ms \/ 1\.1 ms[\s\S]*another mode 1 times: the copy div/,
    );
    writeFileSync(file, '{"version":2}');
    assert.throws(() => loadState(file), /is not the state of a soak of this version/);
    dropState(file);
    dropState(file);
    assert.equal(loadState(file), undefined);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
