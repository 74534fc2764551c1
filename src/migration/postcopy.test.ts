/** Mode `postcopy`: the process runs at the destination with most of its memory missing, and every page of it comes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Moved } from './outcome.ts';
import type { Death } from './test-kit/life.ts';
import {
  checkNothingLost,
  checkOneInstance,
  type Report,
  runScenario,
  type ScenarioOptions,
  type Side,
} from './test-kit/scenario.ts';
import type { Break } from './test-kit/stream.ts';

async function run(options: Partial<ScenarioOptions> = {}): Promise<Report> {
  const report = await runScenario({ seed: 1, mode: 'postcopy', ...options });
  checkOneInstance(report);
  return report;
}

function moved({ source }: Report): Moved {
  assert.ok(source?.outcome === 'moved' && 'stopMicros' in source, `the source ${source?.outcome}`);
  return source;
}

test('it answers before its memory is there, waits for what it touches, and gets all of it', async () => {
  let faults = 0;
  for (let seed = 0; seed < 40; seed++) {
    const report = await run({ seed, pageMicros: 10_000 });
    checkNothingLost(report);
    const { filled, leftovers, datagrams } = moved(report);
    assert.ok(filled !== undefined);
    assert.equal(datagrams.confirmed, true);
    faults += filled.faults;
    assert.ok(filled.faultedPages + filled.filledPages > 0 && filled.fillMicros > 0);
    assert.deepEqual([...leftovers, ...(report.destination?.leftovers ?? [])], []);
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
  const names = phases.map(({ phase }) => phase);
  assert.deepEqual(names, ['connect', 'capture', 'image', 'pages', 'restore', 'commit', 'hand-over', 'fill', 'end']);
  const end = phases.find(({ phase }) => phase === 'fill')!;
  assert.ok(filled!.fillMicros > stopMicros, 'the memory comes behind the stop');
  assert.ok(end.durationMicros > stopMicros, 'the datagrams are handed over before it is there');
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
  const places = ['source serve', 'source freeze', 'source readPages', 'source journal offered', 'source holdStopped'];
  places.push(...['hold', 'begin', 'writePages', 'start paging', 'finish'].map((name) => `destination ${name}`));
  for (const place of places)
    for (let seed = 0; seed < 10; seed++) {
      const report = await run({ seed, failing: { [place]: 1 } });
      checkNothingLost(report);
      assert.equal(report.source?.outcome, 'stayed', place);
      assert.equal(report.world.record.epoch, 7n, `${place}: nobody was fenced`);
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

test('an abort at any moment', async () => {
  const seen = new Set<string | undefined>();
  for (let abortAt = 0; abortAt < 6_000; abortAt += 60) {
    const report = await run({ abortAt });
    checkNothingLost(report);
    seen.add(report.source?.outcome);
  }
  assert.deepEqual([...seen].toSorted(), ['moved', 'stayed']);
});

const MOMENTS = ['before', 'during', 'after'] as const;
const small = { seed: 5, requests: 25 };
const good = await runScenario({ ...small, mode: 'postcopy' });

function deathsOf(side: Side): Death[] {
  return good.calls[side].flatMap((_, index) => MOMENTS.map((moment) => ({ call: index + 1, moment })));
}

for (const side of ['source', 'destination'] as const)
  for (const silently of [false, true])
    test(`the ${side} dies at every call${silently ? ', and its machine says nothing' : ''}: one instance, its memory whole`, async () => {
      const all = deathsOf(side);
      assert.ok(all.length > 60, `${all.length} ways to die`);
      // Silence is found out by deadlines, which takes long to play.
      for (const death of silently ? all.filter((_, index) => index % 5 === 0) : all) {
        try {
          await run({ ...small, deaths: { [side]: [death] }, silently });
        } catch (error) {
          const name = good.calls[side][death.call - 1];
          throw new Error(`${side} dies ${death.moment} call ${death.call}, ${name}`, { cause: error });
        }
      }
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
        await run({ ...small, pageMicros: 3_000, deaths });
      }
});

test('a daemon that dies before TAKE costs no request', async () => {
  const take = good.calls.source.indexOf('frozen.holdStopped') + 2;
  for (const death of deathsOf('source').filter(({ call }) => call < take)) {
    const report = await run({ ...small, deaths: { source: [death] } });
    assert.equal(report.world.source.runs, true);
    checkNothingLost(report);
  }
});

for (const how of ['cut', 'stall'] as const)
  for (const direction of ['to-source', 'to-destination'] as const)
    test(`${how} behind every byte ${direction}: one instance, nothing lost, its memory whole`, async () => {
      const bytesOf = good.world.connections[0]!.bytes();
      const total = direction === 'to-source' ? bytesOf.toSource : bytesOf.toDestination;
      const outcomes = new Set<string | undefined>();
      const fine = how === 'cut' ? 9 : 13;
      const stride = (bytes: number): number => (bytes > 400 && bytes < total - 400 ? 211 : fine);
      for (let bytes = 0; bytes < total; bytes += stride(bytes)) {
        const at: Break = { direction, bytes, how };
        const report = await run({ ...small, breaks: [at] });
        checkNothingLost(report);
        outcomes.add(report.source?.outcome);
      }
      assert.deepEqual([...outcomes].toSorted(), ['moved', 'stayed']);
    });

test('a destination that is not heard of again: its source keeps the process that it misses', async () => {
  const owns = good.calls.destination.indexOf('restoring.run') + 1;
  const report = await runScenario({
    ...{ ...small, mode: 'postcopy', pageMicros: 50_000, restartMicros: 120_000_000 },
    deaths: { destination: [{ call: owns + 1, moment: 'after' }] },
  });
  assert.equal(report.source?.outcome, 'halted');
  assert.equal(report.world.source.hasProcess, true, 'it is there for whoever brings the destination back');
  assert.equal(report.world.source.runs, false);
  assert.equal(report.world.source.journal?.stage, 'given');
});
