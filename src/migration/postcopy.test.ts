/** Mode `postcopy`: the process runs at the destination with most of its memory missing, and every page of it comes. */
import assert from 'node:assert/strict';
import { testsInWorker } from './test-kit/in-worker.ts';
import { checkNothingLost, runScenario, type Side } from './test-kit/scenario.ts';
import {
  abortOften,
  assertNobodyFenced,
  assertNoLeftovers,
  BREAKS,
  breakOften,
  deathsOf,
  dieEach,
  dieEachBefore,
  failEach,
  moved,
  phaseNames,
  placesOf,
  runner,
} from './test-kit/trials.ts';

const test = testsInWorker(import.meta.url);

const run = runner({ mode: 'postcopy' });

test('it answers before its memory is there, waits for what it touches, and gets all of it', async () => {
  let faults = 0;
  for (let seed = 0; seed < 40; seed++) {
    const report = await run({ seed, pageMicros: 10_000 });
    checkNothingLost(report);
    const { filled, datagrams } = moved(report);
    assert.ok(filled !== undefined);
    assert.equal(datagrams.confirmed, true);
    faults += filled.faults;
    assert.ok(filled.faultedPages + filled.filledPages > 0 && filled.fillMicros > 0);
    assertNoLeftovers(report);
    assert.deepEqual(report.world.record, { owner: 'vm2', epoch: 8n });
    assert.ok(report.destination?.outcome === 'owned' && report.destination.filled !== undefined);
  }
  assert.ok(faults > 0, 'somebody had to wait');
});

test('the stop does not hold the memory, and the hand-over does not wait for it', async () => {
  // Each page takes as long as a whole migration without pages.
  const slow = await run({ pageMicros: 60_000, requests: 200 });
  checkNothingLost(slow);
  const { phases, filled, stopMicros } = moved(slow);
  const expected = ['connect', 'sketch', 'capture', 'image', 'pages', 'restore', 'commit', 'hand-over', 'fill', 'end'];
  assert.deepEqual(phaseNames(slow), expected);
  const end = phases.find(({ phase }) => phase === 'fill')!;
  assert.ok(filled!.fillMicros > stopMicros, 'the memory comes behind the stop');
  assert.ok(end.durationMicros > stopMicros, 'the datagrams are handed over before it is there');
});

test('a process that ends at any moment at the destination: the source has it back, or hears that it has ended', async () => {
  const seen = new Set<string>();
  const good = moved(await run({ pageMicros: 3_000 }));
  for (let at = 0; at < good.totalMicros; at += 200) {
    const { world, source, destination } = await runScenario({
      ...{ mode: 'postcopy', seed: 1, pageMicros: 3_000, endsThereAt: at },
    });
    assert.deepEqual(world.violations, []);
    assert.equal(world.source.journal ?? world.destination.journal, undefined, 'nothing is left to be decided');
    if (source?.outcome === 'stayed') {
      assert.equal(destination?.outcome, 'discarded');
      assert.ok(world.source.runs && world.record.owner === 'vm1');
      seen.add(world.record.epoch === 7n ? 'stayed' : 'given back');
      continue;
    }
    assert.ok(source?.outcome === 'moved' && 'filled' in source, `at ${at}: ${source?.outcome}`);
    assert.ok(source.totalMicros < good.totalMicros + 1_000_000, 'nobody waits for what does not come');
    assert.equal(world.source.hasProcess, false);
    seen.add(source.filled?.ended === undefined ? 'moved' : `moved, ended by ${source.filled.ended.signal}`);
  }
  assert.deepEqual([...seen].toSorted(), ['given back', 'moved', 'moved, ended by SIGKILL', 'stayed']);
});

test('progress says how much is missing, and the source hears of it', async () => {
  const seen: Record<Side, Set<number>> = { source: new Set(), destination: new Set() };
  await run({
    pageMicros: 900_000,
    onProgress: (side, { missingBytes }) => void (missingBytes !== undefined && seen[side].add(missingBytes)),
  });
  assert.ok(seen.source.size > 1 && seen.destination.size > 1, 'both sides tell');
});

test('each port that fails: one instance, no request lost, and the source answers on where it failed before TAKE', async () => {
  const places = placesOf(
    ['serve', 'freeze', 'readPages', 'journal offered', 'holdStopped'],
    ['hold', 'begin', 'writePages', 'start paging', 'finish'],
  );
  await failEach(run, places, 10, assertNobodyFenced);
});

test('what cannot be sketched, or not be built of a sketch, is made of the image alone', async () => {
  for (const place of ['source sketch', 'destination build sketch']) {
    const report = await run({ failing: { [place]: 1 } });
    checkNothingLost(report);
    assert.equal(moved(report).outcome, 'moved', place);
  }
});

test('journals that fail once the destination owns change nothing', async () => {
  for (const place of [
    'destination journal owned',
    'destination journal filled',
    'source journal given',
    'source journal filled',
  ]) {
    const report = await run({ failing: { [place]: 1 } });
    checkNothingLost(report);
    assert.equal(moved(report).outcome, 'moved');
  }
});

test('a destination that owns and cannot run gives back, and the source runs on with memory that nobody reads', async () => {
  const report = await run({ failing: { 'destination run': 1 } });
  assert.equal(report.source?.outcome, 'stayed');
  assert.equal(report.destination?.outcome, 'discarded');
  assert.deepEqual(report.world.record, { owner: 'vm1', epoch: 9n });
});

test('an abort at any moment', () => abortOften(run, 6_000, 60));

const small = runner({ mode: 'postcopy', seed: 5, requests: 25 });
const good = await small();

for (const side of ['source', 'destination'] as const)
  for (const silently of [false, true])
    test(`the ${side} dies at every call${silently ? ', and its machine says nothing' : ''}: one instance, its memory whole`, async () => {
      const all = deathsOf(good, side);
      assert.ok(all.length > 60, `${all.length} ways to die`);
      // Silence is found out by deadlines, which takes long to play.
      const some = silently ? all.filter((_, index) => index % 5 === 0) : all;
      await dieEach(small, good, side, some, { silently });
    });

test('a daemon that dies while pages are missing, and again: the next one goes on', async () => {
  const behind = (side: Side, name: string): number[] => {
    const from = good.calls[side].indexOf(name);
    return good.calls[side].flatMap((_, index) => (index > from ? [index + 1] : []));
  };
  for (const side of ['source', 'destination'] as const)
    for (const call of behind(side, side === 'source' ? 'packets.drain' : 'restoring.run'))
      for (const again of [2, 5]) {
        const deaths = {
          [side]: [
            { call, moment: 'after' as const },
            { call: again, moment: 'after' as const },
          ],
        };
        await small({ pageMicros: 3_000, deaths });
      }
});

test('a daemon that dies before TAKE costs no request', async () => {
  const take = good.calls.source.indexOf('frozen.holdStopped') + 2;
  const early = deathsOf(good, 'source').filter(({ call }) => call < take);
  await dieEachBefore(small, good, 'source', early);
});

for (const at of BREAKS)
  test(`${at.how} behind every byte ${at.direction}: one instance, nothing lost, its memory whole`, async () => {
    const fine = at.how === 'cut' ? 9 : 13;
    const outcomes = await breakOften(small, good, at, { fine, coarse: 211, endBytes: 400 });
    assert.deepEqual(outcomes, ['moved', 'stayed']);
  });

test('a destination that is not heard of again: its source keeps the process that it misses', async () => {
  const owns = good.calls.destination.indexOf('restoring.run') + 1;
  const report = await runScenario({
    ...{ seed: 5, requests: 25, mode: 'postcopy', pageMicros: 50_000, restartMicros: 120_000_000 },
    deaths: { destination: [{ call: owns + 1, moment: 'after' }] },
  });
  assert.equal(report.source?.outcome, 'halted');
  assert.equal(report.world.source.hasProcess, true, 'it is there for whoever brings the destination back');
  assert.equal(report.world.source.runs, false);
  assert.equal(report.world.source.journal?.stage, 'given');
});
