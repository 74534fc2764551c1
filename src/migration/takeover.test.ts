/** A whole copy whose source is not heard any more before TAKE: it waits, is told to take over, and clients hear one instance. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Takeover } from './outcome.ts';
import { testsInWorker } from './test-kit/in-worker.ts';
import {
  checkInstance,
  checkOneInstance,
  type Report,
  runScenario,
  type ScenarioOptions,
} from './test-kit/scenario.ts';
import { deathsOf } from './test-kit/trials.ts';

const test = testsInWorker(import.meta.url);

const COMMON = { seed: 5, mode: 'replicated', requests: 60, orderMicros: 1_000 } as const;
/** Far behind the time after which the copy has been told. */
const LATE = 20_000_000;
/** Calls that are made over and over: their first and last times are enough. */
const REPEATED = new Set([
  'traffic.read',
  'traffic.wait',
  'channel.receive',
  'replay.step',
  'replay.wait',
  'replay.play',
]);

const run = (options: Partial<ScenarioOptions>): Promise<Report> => runScenario({ ...COMMON, ...options });
const good = await run({});
const { source: calls } = good.calls;
/** The first `traffic.read` behind the copy's last page; TAKE. */
const whole = calls.indexOf('journal.write', calls.indexOf('snapshot.readPages')) + 1;
const take = calls.indexOf('channel.send', calls.lastIndexOf('traffic.prepareCut')) + 1;
const beforeTake = deathsOf(good, 'source', REPEATED).filter(
  // What is waited for may come behind TAKE.
  ({ call }) => whole < call && call < take && !['channel.receive', 'traffic.wait'].includes(calls[call - 1]!),
);

function takeoverOf({ destination }: Report): Takeover | undefined {
  return destination !== undefined && 'takeover' in destination ? destination.takeover : undefined;
}

/** Whatever has happened: one instance, what it has processed it has processed once, and no answer came twice but those that are said. */
function checkHeardOnce(report: Report): void {
  const { answered } = report.world;
  checkInstance(report);
  const twice = answered.length - new Set(answered).size;
  const takeover = takeoverOf(report);
  // A daemon that died behind it has told nobody; the one that is started again knows only that it owns.
  const isRecovered = report.destination === undefined || !('phases' in report.destination);
  if (takeover === undefined && report.world.takeovers > 0 && isRecovered) return;
  const { replayed = 0, compared = 0, released = 0 } = takeover ?? {};
  // This server answers each request once: so many answers the copy was still making.
  const late = Math.max(0, replayed - compared - released);
  const mayRepeat = (takeover?.mayRepeat ?? 0) + late;
  assert.ok(twice <= mayRepeat, `${twice} answers came twice, ${mayRepeat} may have`);
}

test('in a migration that nothing disturbs nobody takes over, and nobody is asked for it', () => {
  checkOneInstance(good);
  assert.ok(whole > 0 && whole < take && beforeTake.length > 30, `${beforeTake.length} ways to die`);
  assert.deepEqual([good.world.takeovers, good.world.record.epoch], [0, 8n]);
});

test('the machine of the source dies at any moment at which the copy is whole: the copy takes over, and says of what', async () => {
  let isHeard = 0;
  const soon = { requests: 2_000, deadlines: { stepMs: 100 } };
  for (const [index, death] of beforeTake.entries()) {
    if (index % 3 !== 0) continue;
    const report = await run({ deaths: { source: [death] }, machineDies: true, restartMicros: LATE, ...soon });
    const takeover = takeoverOf(report);
    if (takeover === undefined) {
      // It died before END had left: the copy was not whole.
      assert.deepEqual([report.world.takeovers, report.destination?.outcome], [0, 'discarded']);
      continue;
    }
    isHeard++;
    checkHeardOnce(report);
    assert.deepEqual(report.world.record, { owner: 'vm2', epoch: 8n });
    assert.ok(takeover.gapMicros > 100_000, `${takeover.gapMicros} µs`);
    assert.ok(report.world.answered.length > 100);
  }
  assert.ok(isHeard > beforeTake.length / 6, `${isHeard} of ${beforeTake.length}`);
});

test('its daemon alone dies, and the copy is told to take over: nothing of its process is heard, and it ends when there is a daemon again', async () => {
  let shutOut = 0;
  for (const silently of [false, true])
    for (const [index, death] of beforeTake.entries()) {
      if (index % 5 !== 0) continue;
      const report = await run({ deaths: { source: [death] }, silently, restartMicros: LATE, requests: 200 });
      checkHeardOnce(report);
      if (takeoverOf(report) === undefined) continue;
      assert.equal(report.source?.outcome, 'moved');
      assert.equal(report.world.source.hasProcess, false);
      shutOut += report.world.shutOutAnswers;
    }
  assert.ok(shutOut > 0, 'nobody had answered in vain');
});

test('nobody says so: the process goes on, and where its daemon is there again the copy is destroyed', async () => {
  for (const [index, death] of beforeTake.entries()) {
    if (index % 5 !== 0) continue;
    const report = await run({ deaths: { source: [death] }, orderMicros: 2 * LATE, restartMicros: 3_000_000 });
    checkOneInstance(report);
    assert.equal(report.world.record.owner, 'vm1');
    assert.deepEqual([report.source?.outcome, report.destination?.outcome], ['stayed', 'discarded']);
    assert.equal(report.world.answered.length, report.world.sent, 'no request was lost');
  }
});

test('a copy that differs is not kept, and neither is one whose source says that it gives up', async () => {
  const differs = await run({ differsFrom: 25, requests: 60 });
  checkOneInstance(differs);
  assert.ok(differs.source?.outcome === 'stayed' && 'error' in differs.source);
  assert.equal(differs.source.error.code, 'replication.diverged');
  for (let abortAt = 0; abortAt < 40_000; abortAt += 1_700) {
    const report = await run({ abortAt });
    checkOneInstance(report);
    assert.equal(takeoverOf(report), undefined);
    assert.ok(report.world.record.epoch === (report.source?.outcome === 'stayed' ? 7n : 8n), 'nobody had to be fenced');
  }
});

test('the connection breaks or falls silent, and the source can ask: it goes on, and the copy is destroyed', async () => {
  const { toSource, toDestination } = good.world.connections[0]!.bytes();
  for (const how of ['cut', 'stall'] as const)
    for (const [direction, total] of [
      ['to-source', toSource],
      ['to-destination', toDestination],
    ] as const)
      for (let bytes = total - 1; bytes > 0; bytes -= direction === 'to-source' ? 97 : 611) {
        const report = await run({ breaks: [{ direction, bytes, how }], orderMicros: 600_000 });
        checkHeardOnce(report);
      }
});

test('a source that cannot ask answers on; the copy takes over, and when it can ask its process ends', async () => {
  let taken = 0;
  const { toDestination } = good.world.connections[0]!.bytes();
  for (let back = 1; back < 900; back += 23) {
    const report = await run({
      breaks: [{ direction: 'to-destination', bytes: toDestination - back, how: 'cut' }],
      outages: [{ from: 0, to: LATE, how: 'refused', for: 'source' }],
      requests: 400,
    });
    checkHeardOnce(report);
    if (takeoverOf(report) === undefined) continue;
    taken++;
    assert.equal(report.source?.outcome, 'taken-over');
  }
  assert.ok(taken > 5, `${taken}`);
});

test('the question of the copy is lost, or its answer: it asks again, and no answer leaves before', async () => {
  const death = beforeTake.findLast(({ moment }) => moment === 'after')!;
  for (const how of ['refused', 'lost', 'answer-lost', 'late'] as const)
    for (const restartMicros of [1_050_000, 2_000_000, LATE]) {
      const outages = [{ from: 0, to: 3_000_000, how, for: 'destination' } as const];
      const report = await run({ deaths: { source: [death] }, silently: true, restartMicros, outages, requests: 200 });
      checkHeardOnce(report);
    }
});

test('with the output rule a source that had ended its log has nothing that could come twice', async () => {
  const seen = new Set<number>();
  const ruled = await run({ outputRule: true });
  for (const death of deathsOf(ruled, 'source', REPEATED).filter(
    ({ call, moment }) => moment === 'after' && call > 20,
  )) {
    const report = await run({ outputRule: true, deaths: { source: [death] }, restartMicros: LATE, requests: 200 });
    checkHeardOnce(report);
    const takeover = takeoverOf(report);
    if (takeover !== undefined) seen.add(takeover.mayRepeat);
  }
  assert.ok(seen.has(0));
});

const death = fc.record({
  call: fc.integer({ min: 1, max: 90 }),
  moment: fc.constantFrom('before', 'during', 'after'),
});
const broken = fc.record({
  direction: fc.constantFrom('to-destination', 'to-source'),
  bytes: fc.oneof(fc.nat(400), fc.integer({ min: 16_000, max: 22_000 })),
  how: fc.constantFrom('cut', 'stall'),
});
const outage = fc
  .record({
    from: fc.oneof(fc.nat(30_000), fc.nat(2_000_000)),
    for: fc.oneof(fc.nat(30_000), fc.nat(4_000_000)),
    how: fc.constantFrom('refused', 'lost', 'answer-lost', 'late'),
    side: fc.constantFrom('source', 'destination'),
  })
  .map(({ from, for: length, how, side }) => ({ from, to: from + length, how, for: side }));

const scenario = fc.record(
  {
    seed: fc.nat(),
    snapshot: fc.constantFrom('fork', 'tracked'),
    outputRule: fc.boolean(),
    requests: fc.constantFrom(20, 200),
    orderMicros: fc.oneof(fc.nat(5_000), fc.nat(3_000_000)),
    deaths: fc.record({ source: fc.array(death, { maxLength: 2 }), destination: fc.array(death, { maxLength: 2 }) }),
    silently: fc.boolean(),
    breaks: fc.array(fc.option(broken, { nil: undefined, freq: 3 }), { maxLength: 3 }),
    outages: fc.array(outage, { maxLength: 3 }),
    abortAt: fc.nat(60_000),
    restartMicros: fc.oneof(fc.nat(5_000), fc.nat(2_500_000)),
  },
  { requiredKeys: ['seed', 'requests', 'orderMicros'] },
);

test('the daemon of a copy that takes over dies before it has told of it: the copy answers, and clients hear one instance', async () => {
  const deaths = {
    source: [{ call: 40, moment: 'after' }],
    destination: [{ call: 64, moment: 'during' }],
  } as const;
  const report = await run({ seed: 50_201_533, requests: 20, orderMicros: 0, deaths });
  checkHeardOnce(report);
  assert.deepEqual([report.world.takeovers, report.destination?.outcome], [1, 'owned']);
  assert.deepEqual(report.world.record, { owner: 'vm2', epoch: 8n });
});

test('it is told to take over while it still makes an answer: that is the only one that comes twice', async () => {
  const report = await run({
    seed: 3,
    requests: 200,
    orderMicros: 0,
    deaths: { source: [{ call: 74, moment: 'before' }] },
  });
  checkHeardOnce(report);
  assert.equal(report.world.takeovers, 1);
});

test('a destination that has taken, and dies twice, has its source shut out before its copy is heard', async () => {
  const deaths = {
    destination: [
      { call: 86, moment: 'after' },
      { call: 1, moment: 'before' },
    ],
  } as const;
  const report = await run({ seed: 1_254_058_463, requests: 20, orderMicros: 0, restartMicros: 1_499_745, deaths });
  checkHeardOnce(report);
  assert.deepEqual([report.world.violations, report.world.record], [[], { owner: 'vm2', epoch: 8n }]);
});

test('random deaths, breaks, outages, aborts and orders: clients never hear two instances', async () => {
  let takeovers = 0;
  await fc.assert(
    fc.asyncProperty(scenario, async (drawn) => {
      const options: Partial<ScenarioOptions> = drawn;
      const report = await run(options);
      checkHeardOnce(report);
      takeovers += report.world.takeovers;
    }),
    { numRuns: Number(process.env['MODEL_RUNS'] ?? 300) },
  );
  assert.ok(takeovers > 0, 'nobody has taken over');
});
