/**
 * Random schedules: whatever breaks, in whatever combination, exactly one instance runs in the end. `MODEL_RUNS=20000`
 * runs more of them than the few seconds' worth that every test run does.
 */
import fc from 'fast-check';
import { MODES } from './modes.ts';
import { testsInWorker } from './test-kit/in-worker.ts';
import { checkNothingLost, checkOneInstance, runScenario, type ScenarioOptions } from './test-kit/scenario.ts';

const test = testsInWorker(import.meta.url);

const death = fc.record({
  call: fc.integer({ min: 1, max: 60 }),
  moment: fc.constantFrom('before', 'during', 'after'),
});
const deaths = fc.array(death, { maxLength: 3 });
const broken = fc.record({
  direction: fc.constantFrom('to-destination', 'to-source'),
  // Of the 17,000 bytes to the destination those at both ends are the interesting ones.
  bytes: fc.oneof(fc.nat(150), fc.integer({ min: 16_400, max: 17_200 }), fc.nat(17_200)),
  how: fc.constantFrom('cut', 'stall'),
});
const outage = fc
  .record({
    from: fc.integer({ min: 2_000, max: 12_000 }),
    for: fc.oneof(fc.nat(3_000), fc.nat(2_000_000)),
    how: fc.constantFrom('refused', 'lost', 'answer-lost', 'late'),
  })
  .map(({ from, for: length, how }) => ({ from, to: from + length, how }));

const scenario = fc.record(
  {
    seed: fc.nat(),
    mode: fc.constantFrom(...MODES),
    snapshot: fc.constantFrom('fork', 'tracked'),
    // Each page of `postcopy` comes at once, or takes as long as the rest of the migration.
    pageMicros: fc.constantFrom(30, 8_000),
    requests: fc.constant(20),
    deaths: fc.record({ source: deaths, destination: deaths }),
    silently: fc.boolean(),
    breaks: fc.array(fc.option(broken, { nil: undefined, freq: 3 }), { maxLength: 3 }),
    outages: fc.array(outage, { maxLength: 2 }),
    abortAt: fc.nat(5_000),
    restartMicros: fc.oneof(fc.nat(5_000), fc.nat(1_500_000)),
  },
  { requiredKeys: ['seed', 'mode', 'requests'] },
);

test('random deaths, broken connections, outages of the sdn and aborts: exactly one instance', async () => {
  await fc.assert(
    fc.asyncProperty(scenario, async (drawn) => {
      const options: ScenarioOptions = drawn;
      const report = await runScenario(options);
      checkOneInstance(report);
      if (report.deaths === 0 && (options.breaks ?? []).length < 2 && options.outages === undefined)
        checkNothingLost(report);
    }),
    { numRuns: Number(process.env['MODEL_RUNS'] ?? 1000) },
  );
});
