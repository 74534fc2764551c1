/** Each daemon dies at each call that it makes, and the next one finds the journal. */
import assert from 'node:assert/strict';
import { testsInWorker } from './test-kit/in-worker.ts';
import type { Death } from './test-kit/life.ts';
import { checkNothingLost, checkOneInstance, type Report, runScenario, type Side } from './test-kit/scenario.ts';

const test = testsInWorker(import.meta.url);

const options = { seed: 5, requests: 25 };
const MOMENTS = ['before', 'during', 'after'] as const;

const good = await runScenario(options);

/** All the ways in which a side can die in a migration that nothing else disturbs. */
function deathsOf(side: Side): Death[] {
  return good.calls[side].flatMap((_, index) => MOMENTS.map((moment) => ({ call: index + 1, moment })));
}

/** Number of the first call of that name, from 1. */
function callNumber(side: Side, name: string, nth = 1): number {
  const found = good.calls[side].flatMap((call, index) => (call === name ? [index + 1] : []))[nth - 1];
  assert.ok(found !== undefined, `no ${name} among ${good.calls[side].join(' ')}`);
  return found;
}

async function die(side: Side, death: Death, silently: boolean): Promise<Report> {
  const report = await runScenario({ ...options, deaths: { [side]: [death] }, silently });
  try {
    checkOneInstance(report);
  } catch (error) {
    throw new Error(`${side} dies ${death.moment} call ${death.call}, ${good.calls[side][death.call - 1]}`, {
      cause: error,
    });
  }
  return report;
}

for (const side of ['source', 'destination'] as const)
  for (const silently of [false, true])
    test(`the ${side} dies at every call${silently ? ', and its machine says nothing' : ''}: exactly one instance`, async () => {
      const all = deathsOf(side);
      assert.ok(all.length > 60, `${all.length} ways to die`);
      for (const death of all) await die(side, death, silently);
    });

test('a source that dies before TAKE runs on, and no request is lost', async () => {
  // The process is stopped by the fifth step at the latest; TAKE is the call behind the held stop.
  const take = callNumber('source', 'frozen.holdStopped') + 1;
  assert.equal(good.calls.source[take - 1], 'channel.send');
  for (const death of deathsOf('source').filter(
    ({ call, moment }) => call < take || (call === take && moment === 'before'),
  )) {
    const report = await die('source', death, false);
    assert.equal(report.world.source.runs, true);
    checkNothingLost(report);
  }
});

test('a destination that dies before it has taken leaves the source running, and no request is lost', async () => {
  const take = callNumber('destination', 'ownership.take');
  for (const death of deathsOf('destination').filter(({ call }) => call < take)) {
    const report = await die('destination', death, false);
    assert.equal(report.world.source.runs, true);
    checkNothingLost(report);
  }
});

test('a compare-and-set that is still on its way when the destination dies is not overtaken by its recovery', async () => {
  // The request reaches the sdn long after the daemon that sent it has died and the next one has looked at the record.
  for (const from of [0, 4_000]) {
    const report = await runScenario({
      ...options,
      deaths: { destination: [{ call: callNumber('destination', 'ownership.take'), moment: 'during' }] },
      outages: [{ from, to: 60_000, how: 'late' }],
      restartMicros: 1_000,
    });
    checkOneInstance(report);
  }
});

test('both daemons die, each at each of its named steps', async () => {
  const steps = (side: Side, names: readonly string[]): number[] => names.map((name) => callNumber(side, name));
  const source = steps('source', [
    'process.freeze',
    'frozen.readPages',
    'frozen.holdStopped',
    'packets.drain',
    'frozen.kill',
  ]);
  const destination = steps('destination', [
    'engine.begin',
    'restoring.finish',
    'ownership.take',
    'restoring.run',
    'packets.release',
  ]);
  for (const first of source)
    for (const second of destination)
      for (const moment of MOMENTS) {
        const deaths = { source: [{ call: first, moment }], destination: [{ call: second, moment }] };
        checkOneInstance(await runScenario({ ...options, deaths }));
      }
});
