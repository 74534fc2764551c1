import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClientFigures, MigrationFigures } from './figures.ts';
import { renderReport } from './render.ts';
import { type DemoReport, holds, type ModeRun, problemsOf, reportJson } from './report.ts';

const latencyUs = { p50: 200, p90: 300, p99: 900, p999: 950, max: 1000 };
const client: ClientFigures = {
  ...{ sent: 10, answered: 10, lost: 0, duplicated: 0, wrong: 0, reordered: 0, exactlyOnce: true, counter: null },
  ...{ latencyUs, maxGapMs: 1.5, receiveDrops: 0 },
};

function migration(mode: string, more: Partial<MigrationFigures> = {}): MigrationFigures {
  return {
    ...{
      mode,
      requestedMode: mode,
      reason: null,
      from: 'vm1',
      to: 'vm2',
      startedUnixUs: 1,
      beganUnixUs: 1,
      endedUnixUs: 2,
      phases: [],
    },
    ...{ totalMs: 100, stopMs: 1.5, stopUs: 1500, freezeUs: null, cutoverUs: null },
    ...{ snapshot: null, snapshotWhy: null },
    ...{ inputsReplayed: null, outputsCompared: null, outputsReleased: null, lagMax: null, stragglers: null },
    ...{ pageFaults: null, rounds: null, pages: 3, bytes: 12_288, datagramsCarried: 0, datagramsDropped: 0, atRisk: 0 },
    ...more,
  };
}

const run = (mode: string, more: Partial<ModeRun> = {}): ModeRun => ({
  ...{ mode, migrations: [migration(mode)], client, failed: undefined },
  ...more,
});

const REPLICATED = migration('replicated', { freezeUs: 1100, cutoverUs: 400, inputsReplayed: 12, outputsCompared: 11 });
const REPORT: DemoReport = {
  main: run('replicated', { migrations: [REPLICATED, REPLICATED] }),
  others: [run('postcopy', { migrations: [migration('postcopy', { pageFaults: 70 })] }), run('stopcopy')],
  missing: { precopy: 'this version does not have it' },
  control: client,
};

test('the JSON has every migration of the main mode, and every mode with its stop and its client', () => {
  const json = JSON.parse(reportJson(REPORT));
  assert.equal(json.mode, 'replicated');
  assert.deepEqual(json.migrations[0], {
    ...{ mode: 'replicated', from: 'vm1', to: 'vm2', totalMs: 100, stopMs: 1.5, stopUs: 1500, freezeUs: 1100 },
    ...{ cutoverUs: 400, inputsReplayed: 12, outputsCompared: 11, pageFaults: null, pages: 3, bytes: 12_288 },
    reason: null,
  });
  assert.deepEqual(Object.keys(json.byMode), ['replicated', 'postcopy', 'stopcopy']);
  const { migrations, freezeUs, cutoverUs, stopUs } = json.byMode.replicated;
  assert.deepEqual([migrations, freezeUs.median, cutoverUs.min, stopUs.max], [2, 1100, 400, 1500]);
  assert.equal(json.byMode.postcopy.pageFaults.max, 70);
  assert.equal(json.byMode.stopcopy.freezeUs, null);
  for (const figures of [json.client, json.control, json.byMode.stopcopy.client]) {
    const { lost, duplicated, wrong, latencyUs } = figures;
    assert.deepEqual([lost, duplicated, wrong, latencyUs.p50, latencyUs.p99, latencyUs.max], [0, 0, 0, 200, 900, 1000]);
  }
  assert.deepEqual(json.missingModes, { precopy: 'this version does not have it' });
});

test('a mode that is not there spoils nothing; a lost request, another mode, and a failed move do', () => {
  assert.ok(holds(REPORT));
  assert.doesNotMatch(renderReport(REPORT), /overtaken/);
  const overtaken = { ...REPORT, main: run('replicated', { client: { ...client, reordered: 2 } }) };
  assert.match(renderReport(overtaken), /overtaken by later ones/);
  assert.match(renderReport(REPORT), /not shown: precopy[\s\S]*No request was lost/);
  const cases: readonly (readonly [Partial<ModeRun>, RegExp])[] = [
    [{ client: { ...client, lost: 1 } }, /1 lost, 0 duplicated, 0 wrong/],
    [{ client: { ...client, exactlyOnce: false } }, /not every request was processed exactly once/],
    [{ client: { ...client, exactlyOnce: null } }, /not every request was processed exactly once/],
    [{ migrations: [migration('precopy', { reason: 'it diverged' })] }, /moved by precopy instead: it diverged/],
    [{ failed: 'no route', migrations: [] }, /no route/],
  ];
  for (const [spoilt, expected] of cases) {
    const report = { ...REPORT, main: run('replicated', spoilt) };
    assert.match(problemsOf(report.main).join('\n'), expected);
    assert.ok(!holds(report));
    assert.match(renderReport(report), expected);
  }
});
