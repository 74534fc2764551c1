/** Mode `precopy`: its memory goes in rounds while it runs, and what it wrote last when it is stopped. */
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
} from './test-kit/scenario.ts';

async function run(options: Partial<ScenarioOptions> = {}): Promise<Report> {
  const report = await runScenario({ seed: 1, mode: 'precopy', ...options });
  checkOneInstance(report);
  return report;
}

function moved({ source }: Report): Moved {
  assert.ok(source?.outcome === 'moved' && 'stopMicros' in source, `the source ${source?.outcome}`);
  return source;
}

test('the memory that was sent in rounds and what was written since make the memory of the process', async () => {
  let rounds = 0;
  for (let seed = 0; seed < 40; seed++) {
    const report = await run({ seed });
    checkNothingLost(report);
    const source = moved(report);
    rounds = Math.max(rounds, source.rounds ?? 0);
    assert.deepEqual([...source.leftovers, ...(report.destination?.leftovers ?? [])], []);
    assert.deepEqual(report.world.record, { owner: 'vm2', epoch: 8n });
  }
  assert.ok(rounds > 1, 'more than one round');
});

test('it runs while the rounds are made, and the phases say so', async () => {
  const source = moved(await run());
  const names = source.phases.map(({ phase }) => phase);
  assert.deepEqual(names, ['connect', 'copy', 'capture', 'image', 'pages', 'restore', 'commit', 'hand-over', 'end']);
  const stop = source.phases.slice(2, 7).reduce((sum, { durationMicros }) => sum + durationMicros, 0);
  assert.equal(source.stopMicros, stop);
});

test('each port that fails before TAKE: the source runs on', async () => {
  const places = [
    'source start copying',
    'source rounds',
    'source freeze',
    'source journal offered',
    'source holdStopped',
  ];
  places.push(...['hold', 'begin', 'writePages', 'finish'].map((name) => `destination ${name}`));
  for (const place of places)
    for (let seed = 0; seed < 10; seed++) {
      const report = await run({ seed, failing: { [place]: 1 } });
      checkNothingLost(report);
      assert.equal(report.source?.outcome, 'stayed', place);
      assert.equal(report.world.record.epoch, 7n, `${place}: nobody was fenced`);
    }
});

test('where writes cannot be noticed it is refused by name, and nothing was stopped', async () => {
  const { source } = await run({ failing: { 'source start copying': 1 } });
  assert.ok(source?.outcome === 'stayed' && 'error' in source);
  assert.match(source.error.message, /\(copy\).*start copying failed at vm1/);
  assert.equal(source.stopMicros, 0);
});

test('an abort at any moment', async () => {
  const seen = new Set<string | undefined>();
  for (let abortAt = 0; abortAt < 8_000; abortAt += 80) {
    const report = await run({ abortAt });
    checkNothingLost(report);
    seen.add(report.source?.outcome);
  }
  assert.deepEqual([...seen].toSorted(), ['moved', 'stayed']);
});

const MOMENTS = ['before', 'during', 'after'] as const;
const small = { seed: 5, requests: 25 };
const good = await runScenario({ ...small, mode: 'precopy' });

for (const side of ['source', 'destination'] as const)
  test(`the ${side} dies at every call: one instance, its memory whole`, async () => {
    for (const [index, name] of good.calls[side].entries())
      for (const moment of MOMENTS) {
        const death: Death = { call: index + 1, moment };
        try {
          await run({ ...small, deaths: { [side]: [death] } });
        } catch (error) {
          throw new Error(`${side} dies ${death.moment} call ${death.call}, ${name}`, { cause: error });
        }
      }
  });

for (const how of ['cut', 'stall'] as const)
  for (const direction of ['to-source', 'to-destination'] as const)
    test(`${how} in either direction, ${direction}: one instance, nothing lost`, async () => {
      const bytesOf = good.world.connections[0]!.bytes();
      const total = direction === 'to-source' ? bytesOf.toSource : bytesOf.toDestination;
      const stride = (bytes: number): number => (bytes > 400 && bytes < total - 400 ? 511 : 7);
      for (let bytes = 0; bytes < total; bytes += stride(bytes))
        checkNothingLost(await run({ ...small, breaks: [{ direction, bytes, how }] }));
    });
