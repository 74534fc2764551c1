/** Both roles against each other: what each end promises, and that every failure before TAKE costs nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SourceOutcome } from './outcome.ts';
import { DESTINATION_PHASES, SOURCE_PHASES } from './phases.ts';
import { checkNothingLost, type Report, type Side } from './test-kit/scenario.ts';
import { runner } from './test-kit/trials.ts';

const run = runner({});

function assertStayed(report: Report): Extract<SourceOutcome, { outcome: 'stayed' }> {
  const { source, destination, world } = report;
  assert.ok(source?.outcome === 'stayed' && 'error' in source, `the source ${source?.outcome}`);
  assert.equal(destination?.outcome, 'discarded');
  assert.equal(world.source.runs, true);
  checkNothingLost(report);
  return source;
}

test('a migration moves the process, its memory, and every datagram, in order', async () => {
  for (let seed = 0; seed < 50; seed++) {
    const report = await run({ seed });
    checkNothingLost(report);
    const { world, source, destination } = report;
    assert.ok(source?.outcome === 'moved' && 'stopMicros' in source);
    assert.ok(destination?.outcome === 'owned' && 'datagrams' in destination);
    assert.equal(world.destination.runs, true);
    assert.deepEqual(
      world.answered,
      world.answered.toSorted((a, b) => a - b),
      'in order',
    );
    assert.equal(source.epoch, 8n);
    assert.deepEqual(world.record, { owner: 'vm2', epoch: 8n });
    assert.deepEqual(source.datagrams, { carried: destination.datagrams.injected, dropped: 0, confirmed: true });
    assert.equal(destination.datagrams.complete, true);
    assert.equal(source.pages * 4096, source.pageBytes);
    assert.deepEqual([...source.leftovers, ...destination.leftovers], []);
  }
});

test('the result has every phase, one after the other, and a stop that holds all between freeze and OWNED', async () => {
  const { source } = await run();
  assert.ok(source?.outcome === 'moved' && 'phases' in source);
  const names = source.phases.map((phase) => phase.phase);
  assert.deepEqual(names, ['connect', 'capture', 'image', 'pages', 'restore', 'commit', 'hand-over', 'end']);
  for (const [index, phase] of source.phases.entries()) {
    const next: { readonly startMicros: number } | undefined = source.phases[index + 1];
    if (next !== undefined) assert.equal(next.startMicros, phase.startMicros + phase.durationMicros);
  }
  const within = source.phases.slice(1, 6).reduce((sum, phase) => sum + phase.durationMicros, 0);
  assert.equal(source.stopMicros, within);
  assert.ok(source.destination !== undefined && source.destination.takeMicros > 0);
  assert.ok(source.destination.takeMicros < source.stopMicros);
});

test('each port that fails before TAKE: the source runs on, nothing is left at the destination, nothing is lost', async () => {
  const places: readonly (readonly [string, RegExp])[] = [
    ['source journal sending', /\(connect\).*journal sending failed at vm1/],
    ['source freeze', /\(capture\).*freeze failed at vm1/],
    ['source readPages', /\(pages\).*readPages failed at vm1/],
    ['source journal offered', /\(restore\).*journal offered failed/],
    ['source holdStopped', /\(commit\).*holdStopped failed/],
    ['destination journal receiving', /gave up|connection|vm2/],
    ['destination hold', /gave up|connection|vm2/],
    ['destination begin', /vm2 gave up: begin failed at vm2/],
    ['destination writePages', /vm2 gave up: writePages failed at vm2/],
    ['destination finish', /vm2 gave up: finish failed at vm2/],
  ];
  for (const [place, expected] of places)
    for (let seed = 0; seed < 10; seed++) {
      const stayed = assertStayed(await run({ seed, failing: { [place]: 1 } }));
      assert.match(stayed.error.message, expected, place);
      assert.match(stayed.error.message, /the migration of square to vm2 failed .*; it runs on at vm1/);
      assert.equal(stayed.epoch, 7n, 'nobody had to be fenced');
    }
});

test('behind TAKE a failing journal at the destination is a refusal, and the source fences before it runs on', async () => {
  const stayed = assertStayed(await run({ failing: { 'destination journal taking': 1 } }));
  assert.equal(stayed.epoch, 8n);
  assert.match(stayed.error.message, /\(commit\).*journal taking failed/);
});

test('a journal that fails once the destination owns changes nothing', async () => {
  for (const place of ['destination journal owned', 'source journal given']) {
    const report = await run({ failing: { [place]: 1 } });
    checkNothingLost(report);
    assert.equal(report.source?.outcome, 'moved');
    const leftovers = [...(report.source?.leftovers ?? []), ...(report.destination?.leftovers ?? [])];
    assert.match(leftovers.map((left) => left.message).join('\n'), /owns: journal (owned|given) failed/);
  }
});

test('a destination that owns and cannot run gives back, and the source runs on one epoch later', async () => {
  const report = await run({ failing: { 'destination run': 1 } });
  assert.equal(report.source?.outcome, 'stayed');
  assert.equal(report.destination?.outcome, 'discarded');
  assert.deepEqual(report.world.record, { owner: 'vm1', epoch: 9n });
  // What came to the destination meanwhile went down with it.
  assert.equal(report.world.answered.length + report.world.lost.length, report.world.sent);
});

test('a release that fails is tried again', async () => {
  const report = await run({ failing: { 'destination release': 1 } });
  checkNothingLost(report);
  assert.equal(report.destination?.outcome, 'owned');
});

test('an abort at any moment ends at the source or at the destination, and before TAKE at the source', async () => {
  let stayed = 0;
  for (let abortAt = 0; abortAt < 4_000; abortAt += 40) {
    const report = await run({ abortAt });
    checkNothingLost(report);
    const took = report.calls.destination.includes('ownership.take');
    if (report.source?.outcome === 'stayed') {
      stayed++;
      assert.equal(assertStayed(report).error.code, 'aborted');
    } else assert.ok(took);
  }
  assert.ok(stayed > 20 && stayed < 100, `${stayed} of 100 were aborted in time`);
});

test('an sdn that is not to be had at the compare-and-set: nobody runs until it is there, then one', async () => {
  for (const how of ['refused', 'lost', 'answer-lost', 'late'] as const)
    for (let seed = 0; seed < 10; seed++) {
      const report = await run({ seed, outages: [{ from: 3_000, to: 2_000_000, how }] });
      checkNothingLost(report);
      assert.ok(report.world.clock.nowMicros() > (how === 'answer-lost' ? 100_000 : 2_000_000), 'it waited');
    }
});

test('a source that is fenced out by nobody but itself keeps its requests', async () => {
  // OWNED never arrives, and the question to the sdn comes late: the destination has long been running.
  const report = await run({ breaks: [{ direction: 'to-source', bytes: 30, how: 'stall' }] });
  checkNothingLost(report);
  assert.equal(report.source?.outcome, 'moved');
  assert.equal(report.world.connections.length, 2, 'the source came back');
});

test('progress names every phase of both sides in order, but for those in which nobody answers, and counts bytes to the end', async () => {
  const seen: Record<Side, string[]> = { source: [], destination: [] };
  const done: Record<Side, number> = { source: 0, destination: 0 };
  const report = await run({
    onProgress: (side, { phase, doneBytes }) => {
      if (seen[side].at(-1) !== phase) seen[side].push(phase);
      assert.ok(doneBytes >= done[side]);
      done[side] = doneBytes;
    },
  });
  const others = ['watch', 'follow', 'copy', 'fill', 'sketch', 'keep'];
  const untold = ['commit', 'take', 'run'];
  const told = (phases: object): string[] =>
    Object.keys(phases).filter((phase) => !others.includes(phase) && !untold.includes(phase));
  assert.deepEqual(seen.source, told(SOURCE_PHASES));
  assert.deepEqual(seen.destination, told(DESTINATION_PHASES));
  assert.ok(report.source?.outcome === 'moved' && 'pageBytes' in report.source);
  assert.equal(done.source, report.source.pageBytes + report.source.imageBytes);
  assert.equal(done.destination, done.source);
});

test('a listener that throws decides over nothing', async () => {
  let calls = 0;
  const report = await run({
    onProgress: () => {
      calls++;
      throw new Error('whoever watches');
    },
  });
  checkNothingLost(report);
  assert.equal(report.source?.outcome, 'moved');
  assert.equal(calls, 2, 'once a side');
});

test('a destination that expects another migration refuses by name of what differs', async () => {
  const others = { id: 'migration-2', sandbox: 'other', source: 'vm9', destination: 'vm9', epoch: 6n } as const;
  for (const [key, value] of Object.entries(others)) {
    const stayed = assertStayed(await run({ expected: { [key]: value } }));
    assert.equal(stayed.error.code, 'peer.protocol');
    assert.match(stayed.error.message, new RegExp(`${key === 'id' ? 'migration' : key} is .*${value} was expected`));
    assert.equal(stayed.stopMicros, 0, 'refused before the process was touched');
  }
});

test('a migration that takes too long ends before TAKE', async () => {
  const stayed = assertStayed(await run({ deadlines: { totalMs: 1 } }));
  assert.equal(stayed.error.code, 'deadline');
});
