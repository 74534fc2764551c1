/** The connection breaks, or falls silent, behind every byte of either direction. */
import assert from 'node:assert/strict';
import { testsInWorker } from './test-kit/in-worker.ts';
import { checkNothingLost, checkOneInstance, runScenario } from './test-kit/scenario.ts';
import type { Break } from './test-kit/stream.ts';

const test = testsInWorker(import.meta.url);

const options = { seed: 3, requests: 25 };

/** Every byte but those inside of pages: one in so many of them. */
const PAGE_STRIDE = 211;

async function bytesOfAGoodRun(): Promise<{ toDestination: number; toSource: number }> {
  const report = await runScenario(options);
  assert.equal(report.source?.outcome, 'moved');
  const made = report.world.connections[0];
  assert.ok(made);
  return made.bytes();
}

async function breakAt(at: Break): Promise<string | undefined> {
  const report = await runScenario({ ...options, breaks: [at] });
  checkOneInstance(report);
  checkNothingLost(report);
  return report.source?.outcome;
}

for (const how of ['cut', 'stall'] as const) {
  test(`${how} behind every byte to the source: one instance, nothing lost, nothing doubled`, async () => {
    const { toSource } = await bytesOfAGoodRun();
    const outcomes = new Set<string | undefined>();
    for (let bytes = 0; bytes < toSource; bytes++) outcomes.add(await breakAt({ direction: 'to-source', bytes, how }));
    assert.deepEqual([...outcomes].toSorted(), ['moved', 'stayed']);
  });

  test(`${how} behind every byte to the destination: one instance, nothing lost, nothing doubled`, async () => {
    const { toDestination } = await bytesOfAGoodRun();
    const outcomes = new Set<string | undefined>();
    const stride = (bytes: number): number => (bytes > 300 && bytes < toDestination - 400 ? PAGE_STRIDE : 1);
    for (let bytes = 0; bytes < toDestination; bytes += stride(bytes))
      outcomes.add(await breakAt({ direction: 'to-destination', bytes, how }));
    assert.deepEqual([...outcomes].toSorted(), ['moved', 'stayed']);
  });
}

test('both the first and the second connection break: one instance all the same', async () => {
  const { toDestination } = await bytesOfAGoodRun();
  for (let back = 0; back < 300; back += 7)
    for (const second of [0, 5, 20, 40]) {
      const breaks: Break[] = [
        { direction: 'to-destination', bytes: toDestination - back, how: 'cut' },
        { direction: 'to-source', bytes: second, how: 'stall' },
      ];
      checkOneInstance(await runScenario({ ...options, breaks }));
    }
});
