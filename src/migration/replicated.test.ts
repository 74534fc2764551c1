/** Mode `replicated`: no stop but the snapshot and the cutover, and nobody outside can tell that there were two. */
import assert from 'node:assert/strict';
import { testsInWorker } from './test-kit/in-worker.ts';
import { checkNothingLost, checkOneInstance, runScenario } from './test-kit/scenario.ts';
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

/** With both ways of taking the snapshot. */
const WAYS = (['fork', 'tracked'] as const).map((snapshot) => ({
  snapshot,
  run: runner({ mode: 'replicated', snapshot }),
  small: runner({ mode: 'replicated', snapshot, seed: 5, requests: 25 }),
}));
const [{ run }] = WAYS as [(typeof WAYS)[number]];

for (const way of WAYS)
  test(`the copy is given everything, is compared with everything, and answers once (${way.snapshot})`, async () => {
    let rounds = 0;
    for (let seed = 0; seed < 20; seed++) {
      const report = await way.run({ seed });
      checkNothingLost(report);
      const { replication, rounds: made = 0 } = moved(report);
      assert.ok(replication !== undefined && replication.replayed > 0 && replication.compared > 0);
      assert.ok(replication.cutoverMicros !== undefined && replication.cutoverMicros > 0);
      assert.deepEqual(replication.choice, { way: way.snapshot, why: 'the test says so' });
      rounds = Math.max(rounds, made);
      assertNoLeftovers(report);
      assert.deepEqual(report.world.record, { owner: 'vm2', epoch: 8n });
    }
    assert.equal(rounds > 1, way.snapshot === 'tracked', `${rounds} rounds`);
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

test('an sdn that ends before it leads the requests elsewhere: the source goes on carrying them over', async () => {
  const options = { requests: 5_000, noLeadMicros: 2_000_000 };
  for (let seed = 0; seed < 3; seed++) {
    const report = await run({ seed, ...options });
    checkNothingLost(report);
    assertNoLeftovers(report);
    assert.ok(moved(report).datagrams.carried > 50);
  }
  const impatient = await runScenario({ seed: 1, mode: 'replicated', ...options, deadlines: { leadMs: 1 } });
  assert.throws(() => checkNothingLost(impatient), 'it is only its patience that keeps them');
});

test('an sdn that thinks about it for long: the source answers meanwhile', async () => {
  for (const how of ['refused', 'lost', 'late'] as const) {
    const report = await run({ requests: 5_000, outages: [{ from: 0, to: 600_000, how }] });
    checkNothingLost(report);
    const { stopMicros, replication, totalMicros } = moved(report);
    assert.ok(totalMicros > 550_000, how);
    assert.ok(stopMicros < 20_000, `${how}: it did not answer for ${stopMicros} µs`);
    assert.ok((replication?.cutoverMicros ?? 0) < 20_000);
  }
});

test('the phases stand in the order of the protocol', async () => {
  const behind = ['watch', 'capture', 'image', 'pages', 'restore', 'follow', 'commit', 'hand-over', 'end'];
  for (const way of WAYS) {
    const before = way.snapshot === 'tracked' ? ['connect', 'copy'] : ['connect'];
    assert.deepEqual(phaseNames(await way.run()), [...before, ...behind]);
  }
});

test('a cut between two packets of an answer: the process is stopped, the rest of it leaves, and nothing else', async () => {
  for (let seed = 0; seed < 20; seed++) {
    const report = await run({ seed, halfOut: true, requests: 100 });
    checkNothingLost(report);
    moved(report);
  }
  const behind = placesOf(['stop', 'confirmStop', 'letOut', 'finish'], []);
  await failEach(
    (options) => run({ ...options, halfOut: true }),
    behind,
    4,
    ({ source }) => assert.equal(source?.outcome, 'stayed'),
  );
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
  for (let from = 10; from < 400; from += 10) {
    const report = await run({ differsFrom: from, requests: 400 });
    checkNothingLost(report);
    seen.add(report.source?.outcome);
  }
  assert.deepEqual([...seen].toSorted(), ['moved', 'stayed']);
});

for (const way of WAYS)
  test(`each port that fails: one instance, no request lost, and the source answers on where it failed before TAKE (${way.snapshot})`, async () => {
    const tracked = way.snapshot === 'tracked' ? ['check', 'rounds'] : [];
    const before = placesOf(
      [...tracked, 'start', 'snapshot', 'readPages', 'prepareCut', 'journal offered'],
      ['hold', 'begin', 'writePages', 'finish', 'shut', 'rehearse'],
    );
    await failEach(way.run, before, 4, assertNobodyFenced);
    const behind = placesOf(['hasten', 'cut', 'isHalfOut', 'finish'], ['release gate', 'journal taking']);
    await failEach(way.run, behind, 4, ({ world }, place) => {
      const { epoch } = world.record;
      assert.ok(epoch === 8n || epoch === 9n, `${place}: epoch ${epoch}`);
    });
  });

for (const way of WAYS)
  test(`an abort at any moment: the source answers on, or the destination does (${way.snapshot})`, () =>
    abortOften(way.run, 40_000, 900));

test('an abort while the rounds are made: nothing has been stopped, and nobody takes note of writes any more', async () => {
  const { run: tracked } = WAYS[1]!;
  const copy = moved(await tracked()).phases.find(({ phase }) => phase === 'copy')!;
  for (let at = 0; at < copy.durationMicros; at += 40) {
    const { source } = await tracked({ abortAt: copy.startMicros + at });
    assert.ok(source?.outcome === 'stayed' && 'stopMicros' in source);
    assert.equal(source.error.code, 'aborted');
    assert.equal(source.stopMicros, 0);
  }
});

test('where writes cannot be tracked it is forked, and the result says why', async () => {
  const report = await WAYS[1]!.run({ failing: { 'source start copying': 1 } });
  checkNothingLost(report);
  const { replication, rounds } = moved(report);
  assert.deepEqual(replication?.choice, {
    way: 'fork',
    why: 'its writes cannot be tracked: start copying failed at vm1',
  });
  assert.equal(rounds, undefined);
});

test('rounds that take too long are no matter of the copy: another mode would not be quicker', async () => {
  const { run: tracked } = WAYS[1]!;
  const copy = moved(await tracked()).phases.find(({ phase }) => phase === 'copy')!;
  const totalMs = (copy.startMicros + copy.durationMicros / 2) / 1000;
  const { source } = await tracked({ deadlines: { totalMs } });
  assert.ok(source?.outcome === 'stayed' && 'error' in source);
  assert.equal(source.error.code, 'deadline');
  assert.match(source.error.message, /\(copy\)/);
});

test('a process that ends: before the cutover it is said, in the cutover its copy goes on', async () => {
  const seen = new Set<string>();
  for (let endsAt = 0; endsAt < 40_000; endsAt += 900)
    for (const failing of [{}, { 'source finish': 1 }]) {
      const report = await runScenario({ seed: 1, mode: 'replicated', endsAt, failing, requests: 150 });
      const { world, source, destination } = report;
      assert.deepEqual(world.violations, []);
      assert.equal(source?.outcome === 'moved', destination?.outcome === 'owned');
      assert.equal(world.source.hasProcess, false);
      assert.equal(world.source.journal ?? world.destination.journal, undefined, 'nothing is left to be decided');
      if (source?.outcome === 'moved') {
        checkOneInstance(report);
        checkNothingLost(report);
        seen.add('moved');
        continue;
      }
      assert.ok(source?.outcome === 'stayed' && 'error' in source, `at ${endsAt}: ${source?.outcome}`);
      // Where the migration had failed before, the process ran on, and ended later.
      if ('source finish' in failing && !source.ended) continue;
      assert.equal(source.error.code, 'process.gone');
      assert.ok(source.ended);
      assert.equal(world.destination.hasProcess, false);
      // Whoever releases it has to know at which epoch it is.
      assert.deepEqual(world.record, { owner: 'vm1', epoch: source.epoch });
      seen.add(source.epoch === 7n ? 'ended before TAKE' : 'ended behind TAKE, without the end of the log');
    }
  assert.deepEqual([...seen].toSorted(), [
    'ended before TAKE',
    'ended behind TAKE, without the end of the log',
    'moved',
  ]);
});

test('a copy that ends is noticed at once, at any moment, and the source answers on or takes over again', async () => {
  const seen = new Set<string>();
  const good = await runScenario({ seed: 1, mode: 'replicated', requests: 150 });
  const { totalMicros } = moved(good);
  for (let at = 0; at < totalMicros; at += 150) {
    const report = await runScenario({ seed: 1, mode: 'replicated', endsThereAt: at, requests: 150 });
    const { world, source, destination } = report;
    // It was on its own already: the end of a server, not of a copy.
    if (source?.outcome === 'moved') {
      assert.equal(world.record.owner, 'vm2');
      seen.add('moved');
      continue;
    }
    assert.ok(source?.outcome === 'stayed', `at ${at}: ${source?.outcome}`);
    checkOneInstance(report);
    checkNothingLost(report);
    assert.ok('error' in source && 'phases' in source);
    assert.notEqual(source.error.code, 'replication.lagging');
    assert.notEqual(source.error.code, 'deadline');
    const last = source.phases.at(-1)!;
    const endedMicros = last.startMicros + last.durationMicros;
    assert.ok(endedMicros < totalMicros + 100_000, `at ${at}: ${endedMicros} µs`);
    if (source.error.code === 'replication.ended') seen.add(source.epoch === 7n ? 'before TAKE' : 'behind TAKE');
    assert.equal(destination?.outcome, 'discarded');
  }
  assert.deepEqual([...seen].toSorted(), ['before TAKE', 'behind TAKE', 'moved']);
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

/** Calls that a migration makes over and over: their first times are enough. */
const REPEATED = new Set([
  'traffic.read',
  'traffic.wait',
  'replay.step',
  'replay.wait',
  'replay.play',
  'channel.receive',
]);

for (const { snapshot, small } of WAYS) {
  const good = await small();

  for (const side of ['source', 'destination'] as const)
    for (const silently of [false, true])
      test(`the ${side} dies at every call${silently ? ', and its machine says nothing' : ''}: exactly one instance (${snapshot})`, async () => {
        const all = deathsOf(good, side, REPEATED);
        assert.ok(all.length > 60, `${all.length} ways to die`);
        // Silence is found out by deadlines, which takes long to play.
        const isOne = (index: number): boolean => index % (silently ? 7 : 2) === 0;
        const some = all.filter(({ call }, index) =>
          snapshot === 'fork' ? isOne(index) : isOne(index / 2) || good.calls[side][call - 1]!.startsWith('copying.'),
        );
        await dieEach(small, good, side, some, { silently }, ({ world }) =>
          assert.ok(world.answered.length <= world.sent),
        );
      });

  test(`a daemon that dies before TAKE costs no request (${snapshot})`, async () => {
    const cut = good.calls.source.indexOf('traffic.cut');
    const take = good.calls.source.indexOf('channel.send', cut) + 1;
    const owned = good.calls.destination.indexOf('ownership.take') + 1;
    const thin = snapshot === 'fork' ? 1 : 3;
    const ends = { source: take, destination: owned + 1 };
    for (const side of ['source', 'destination'] as const)
      await dieEachBefore(
        small,
        good,
        side,
        // What is waited for in the background may end behind TAKE.
        deathsOf(good, side, REPEATED).filter(
          ({ call }) => call < ends[side] && !REPEATED.has(good.calls[side][call - 1]!) && call % thin === 0,
        ),
      );
  });

  test(`a source that dies in the hand-over comes back to say that there is no more: the destination does not wait for it (${snapshot})`, async () => {
    const given = good.calls.source.lastIndexOf('journal.write') + 1;
    const cleared = good.calls.source.lastIndexOf('journal.clear') + 1;
    assert.ok(given > 0 && cleared > given);
    const deaths = deathsOf(good, 'source').filter(({ call }) => given <= call && call < cleared);
    await dieEach(small, good, 'source', deaths, {}, ({ source, destination }) => {
      assert.equal(source?.outcome, 'moved');
      assert.ok(destination?.outcome === 'owned' && 'datagrams' in destination);
      assert.ok(destination.datagrams.complete);
    });
  });

  test(`a destination that dies when it owns: its next daemon tells the source, which does not wait (${snapshot})`, async () => {
    const { destination: calls } = good.calls;
    const owned = calls.lastIndexOf('journal.write') + 1;
    const cleared = calls.lastIndexOf('journal.clear') + 1;
    assert.ok(owned > 0 && cleared > owned);
    const deaths = deathsOf(good, 'destination', REPEATED).filter(
      ({ call, moment }) => (owned < call || (owned === call && moment === 'after')) && call < cleared,
    );
    await dieEach(small, good, 'destination', deaths, {}, (report) => {
      assert.equal(report.destination?.outcome, 'owned');
      const micros = moved(report).phases.reduce((sum, { durationMicros }) => sum + durationMicros, 0);
      assert.ok(micros < 1_000_000, `the source was at it for ${micros / 1000} ms`);
    });
  });

  for (const at of BREAKS)
    test(`${at.how} behind every byte ${at.direction}: one instance, nothing lost, nothing doubled (${snapshot})`, async () => {
      const fine = (at.how === 'cut' ? 11 : 61) * (snapshot === 'fork' ? 1 : 3);
      const outcomes = await breakOften(small, good, at, { fine, coarse: 811, endBytes: 1_500 });
      assert.ok(outcomes.includes('stayed'));
    });
}
