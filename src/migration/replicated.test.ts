/** Mode `replicated`: no stop but the snapshot and the cutover, and nobody outside can tell that there were two. */
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
  const report = await runScenario({ seed: 1, mode: 'replicated', ...options });
  checkOneInstance(report);
  assert.equal(report.world.route, report.world.record.owner, 'requests go to where somebody answers');
  return report;
}

function moved({ source }: Report): Moved {
  assert.ok(source?.outcome === 'moved' && 'stopMicros' in source, `the source ${source?.outcome}`);
  return source;
}

test('the copy is given everything, is compared with everything, and answers once', async () => {
  for (let seed = 0; seed < 20; seed++) {
    const report = await run({ seed });
    checkNothingLost(report);
    const { replication, leftovers } = moved(report);
    assert.ok(replication !== undefined && replication.replayed > 0 && replication.compared > 0);
    assert.ok(replication.cutoverMicros !== undefined && replication.cutoverMicros > 0);
    assert.deepEqual([...leftovers, ...(report.destination?.leftovers ?? [])], []);
    assert.deepEqual(report.world.record, { owner: 'vm2', epoch: 8n });
  }
});

test('with the output rule TAKE comes when the copy has had and answered everything', async () => {
  for (let seed = 0; seed < 6; seed++) {
    const report = await run({ seed, outputRule: true });
    checkNothingLost(report);
    moved(report);
    assert.equal(report.world.record.owner, 'vm2');
  }
  for (const name of ['cut', 'finish']) {
    const report = await run({ outputRule: true, failing: { [`source ${name}`]: 1 } });
    checkNothingLost(report);
    assert.equal(report.world.record.epoch, 7n, 'it failed before TAKE: nobody had to be fenced');
  }
});

test('the phases stand in the order of the protocol', async () => {
  const names = moved(await run()).phases.map(({ phase }) => phase);
  const expected = ['connect', 'watch', 'capture', 'image', 'pages', 'restore', 'follow', 'commit', 'hand-over', 'end'];
  assert.deepEqual(names, expected);
});

test('a copy that answers differently is found out before the cutover: nobody notices anything', async () => {
  const report = await run({ differsFrom: 25, requests: 60 });
  checkNothingLost(report);
  const { source } = report;
  assert.ok(source?.outcome === 'stayed' && 'stopMicros' in source);
  assert.equal(source.error.code, 'replication.diverged');
  assert.match(source.error.message, /differs in output \d+ of 10\.88\.0\.5:5006 to 10\.0\.0\.9:40000/);
  assert.equal(source.stopMicros, 0, 'it was not stopped again');
  assert.equal(source.epoch, 7n, 'nobody had to be fenced');
  assert.equal(report.destination?.outcome, 'discarded');
});

test('a copy that differs in the last answers only is found out before it answers, and the source takes over again', async () => {
  const seen = new Set<string | undefined>();
  for (let from = 10; from < 150; from += 5) {
    const report = await run({ differsFrom: from, requests: 150 });
    checkNothingLost(report);
    seen.add(report.source?.outcome);
  }
  assert.deepEqual([...seen].toSorted(), ['moved', 'stayed']);
});

test('each port that fails: one instance, no request lost, and the source answers on where it failed before TAKE', async () => {
  const before = ['start', 'snapshot', 'readPages', 'journal offered', 'stop'].map((name) => `source ${name}`);
  before.push(...['hold', 'begin', 'writePages', 'finish', 'shut', 'rehearse'].map((name) => `destination ${name}`));
  const behind = [
    'source confirmStop',
    'source cut',
    'source finish',
    'destination release gate',
    'destination journal taking',
  ];
  for (const place of [...before, ...behind])
    for (let seed = 0; seed < 4; seed++) {
      const report = await run({ seed, failing: { [place]: 1 } });
      checkNothingLost(report);
      assert.equal(report.source?.outcome, 'stayed', place);
      assert.equal(report.world.source.runs, true);
      const { epoch } = report.world.record;
      if (before.includes(place)) assert.equal(epoch, 7n, `${place}: nobody was fenced`);
      else assert.ok(epoch === 8n || epoch === 9n, `${place}: epoch ${epoch}`);
    }
});

test('an abort at any moment: the source answers on, or the destination does', async () => {
  const seen = new Set<string | undefined>();
  for (let abortAt = 0; abortAt < 40_000; abortAt += 900) {
    const report = await run({ abortAt });
    checkNothingLost(report);
    seen.add(report.source?.outcome);
  }
  assert.deepEqual([...seen].toSorted(), ['moved', 'stayed']);
});

test('a copy that cannot catch up is given up in time', async () => {
  const report = await run({ deadlines: { totalMs: 20 }, copyMicros: 100_000, requests: 400 });
  checkNothingLost(report);
  assert.ok(report.source?.outcome === 'stayed' && 'error' in report.source);
  assert.equal(report.source.error.code, 'replication.lagging');
  assert.match(
    report.source.error.message,
    /did not catch up in time; the copy was \d+ datagrams in and \d+ out behind/,
  );
});

const MOMENTS = ['before', 'during', 'after'] as const;
const small = { seed: 5, requests: 25 };
const good = await runScenario({ ...small, mode: 'replicated' });

/** Calls that a migration makes over and over: their first times are enough. */
const REPEATED = new Set([
  'traffic.read',
  'traffic.wait',
  'replay.step',
  'replay.wait',
  'replay.play',
  'channel.receive',
]);
const TIMES = 3;

function deathsOf(side: Side): Death[] {
  const counts = new Map<string, number>();
  return good.calls[side].flatMap((name, index) => {
    const count = (counts.get(name) ?? 0) + 1;
    counts.set(name, count);
    if (REPEATED.has(name) && count > TIMES && index < good.calls[side].length - 60) return [];
    return MOMENTS.map((moment) => ({ call: index + 1, moment }));
  });
}

for (const side of ['source', 'destination'] as const)
  for (const silently of [false, true])
    test(`the ${side} dies at every call${silently ? ', and its machine says nothing' : ''}: exactly one instance`, async () => {
      const all = deathsOf(side);
      assert.ok(all.length > 60, `${all.length} ways to die`);
      // Silence is found out by deadlines, which takes long to play.
      for (const death of all.filter((_, index) => index % (silently ? 7 : 2) === 0)) {
        const name = good.calls[side][death.call - 1];
        try {
          const report = await run({ ...small, deaths: { [side]: [death] }, silently });
          assert.ok(report.world.answered.length <= report.world.sent);
        } catch (error) {
          throw new Error(`${side} dies ${death.moment} call ${death.call}, ${name}`, { cause: error });
        }
      }
    });

test('a daemon that dies before TAKE costs no request', async () => {
  const stop = good.calls.source.indexOf('process.stop');
  const take = good.calls.source.indexOf('channel.send', stop) + 1;
  // What is waited for in the background may end behind TAKE.
  const steps = (side: Side): Death[] =>
    deathsOf(side).filter(({ call }) => !REPEATED.has(good.calls[side][call - 1]!));
  for (const death of steps('source').filter(({ call }) => call < take)) {
    const report = await run({ ...small, deaths: { source: [death] } });
    assert.equal(report.world.source.runs, true, `dies ${death.moment} call ${death.call} of the source`);
    checkNothingLost(report);
  }
  const owned = good.calls.destination.indexOf('ownership.take') + 1;
  for (const death of steps('destination').filter(({ call }) => call <= owned)) {
    const report = await run({ ...small, deaths: { destination: [death] } });
    assert.equal(report.world.source.runs, true, `dies ${death.moment} call ${death.call} of the destination`);
    checkNothingLost(report);
  }
});

test('a source that dies in the hand-over comes back to say that there is no more: the destination does not wait for it', async () => {
  const given = good.calls.source.lastIndexOf('journal.write') + 1;
  const cleared = good.calls.source.lastIndexOf('journal.clear') + 1;
  assert.ok(given > 0 && cleared > given);
  for (let call = given; call < cleared; call++)
    for (const moment of MOMENTS) {
      const { source, destination } = await run({ ...small, deaths: { source: [{ call, moment }] } });
      const where = `dies ${moment} ${good.calls.source[call - 1]}`;
      assert.equal(source?.outcome, 'moved', where);
      assert.ok(destination?.outcome === 'owned' && 'datagrams' in destination, where);
      assert.ok(destination.datagrams.complete, where);
    }
});

for (const how of ['cut', 'stall'] as const)
  for (const direction of ['to-source', 'to-destination'] as const)
    test(`${how} behind every byte ${direction}: one instance, nothing lost, nothing doubled`, async () => {
      const bytesOf = good.world.connections[0]!.bytes();
      const total = direction === 'to-source' ? bytesOf.toSource : bytesOf.toDestination;
      const outcomes = new Set<string | undefined>();
      const fine = how === 'cut' ? 11 : 61;
      const stride = (bytes: number): number => (bytes > 300 && bytes < total - 1_500 ? 811 : fine);
      for (let bytes = 0; bytes < total; bytes += stride(bytes)) {
        const at: Break = { direction, bytes, how };
        const report = await run({ ...small, breaks: [at] });
        checkNothingLost(report);
        outcomes.add(report.source?.outcome);
      }
      assert.ok(outcomes.has('stayed'));
    });
