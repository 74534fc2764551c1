/** Mode `precopy`: its memory goes in rounds while it runs, and what it wrote last when it is stopped. */
import assert from 'node:assert/strict';
import { testsInWorker } from './test-kit/in-worker.ts';
import { checkNothingLost } from './test-kit/scenario.ts';
import {
  abortOften,
  assertNobodyFenced,
  assertNoLeftovers,
  BREAKS,
  breakOften,
  deathsOf,
  dieEach,
  failEach,
  moved,
  phaseNames,
  placesOf,
  runner,
} from './test-kit/trials.ts';

const test = testsInWorker(import.meta.url);

const run = runner({ mode: 'precopy' });

test('the memory that was sent in rounds and what was written since make the memory of the process', async () => {
  let rounds = 0;
  for (let seed = 0; seed < 40; seed++) {
    const report = await run({ seed });
    checkNothingLost(report);
    rounds = Math.max(rounds, moved(report).rounds ?? 0);
    assertNoLeftovers(report);
    assert.deepEqual(report.world.record, { owner: 'vm2', epoch: 8n });
  }
  assert.ok(rounds > 1, 'more than one round');
});

test('it runs while the rounds are made, and the phases say so', async () => {
  const report = await run();
  const expected = ['connect', 'copy', 'capture', 'image', 'pages', 'restore', 'commit', 'hand-over', 'end'];
  assert.deepEqual(phaseNames(report), expected);
  const source = moved(report);
  const stop = source.phases.slice(2, 7).reduce((sum, { durationMicros }) => sum + durationMicros, 0);
  assert.equal(source.stopMicros, stop);
});

test('each port that fails before TAKE: the source runs on', async () => {
  const places = placesOf(
    ['start copying', 'rounds', 'freeze', 'journal offered', 'holdStopped'],
    ['hold', 'begin', 'writePages', 'finish'],
  );
  await failEach(run, places, 10, assertNobodyFenced);
});

test('where writes cannot be noticed it is refused by name, and nothing was stopped', async () => {
  const { source } = await run({ failing: { 'source start copying': 1 } });
  assert.ok(source?.outcome === 'stayed' && 'error' in source);
  assert.match(source.error.message, /\(copy\).*start copying failed at vm1/);
  assert.equal(source.stopMicros, 0);
});

test('an abort at any moment', () => abortOften(run, 8_000, 80));

const small = runner({ mode: 'precopy', seed: 5, requests: 25 });
const good = await small();

for (const side of ['source', 'destination'] as const)
  test(`the ${side} dies at every call: one instance, its memory whole`, () =>
    dieEach(small, good, side, deathsOf(good, side)));

for (const at of BREAKS)
  test(`${at.how} in either direction, ${at.direction}: one instance, nothing lost`, async () => {
    await breakOften(small, good, at, { fine: 7, coarse: 511, endBytes: 400 });
  });
