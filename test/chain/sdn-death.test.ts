/**
 * The sdn, killed and started again at every step of a replicated migration; and what is refused while one is under way:
 * one owner, the source answers until the take-over, and nobody outside notices.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Load } from '../../src/lab/demo/load.ts';
import { runComicran } from '../../src/lab/demo/program.ts';
import { refusalOfMigrate } from '../support/call-migrate.ts';
import { killDaemon } from '../support/daemons.ts';
import { type FaultPoint, Faults } from '../support/faults.ts';
import { lastMigration } from '../support/known-migrations.ts';
import { find, start } from '../support/lab.ts';
import { Manager, NotMoved } from '../support/manager.ts';
import { needs } from '../support/needs.ts';
import { askCount, untilAnswered } from '../support/probe.ts';

const skip = needs('root');
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Where the migration is when the sdn dies; the process at the source runs then. */
const POINTS: readonly (readonly [string, FaultPoint])[] = [
  ['before the snapshot', 'destination.packets.hold:after'],
  ['in the copy', 'destination.restoring.writePages:after'],
  ['in the log phase', 'source.traffic.prepareCut:before'],
];
/** The route has not followed yet: what comes to the source is carried over until it has. */
const LATE_POINTS: readonly (readonly [string, FaultPoint])[] = [
  ['just before the compare-and-set', 'destination.ownership.take:before'],
  ['just behind the compare-and-set', 'destination.ownership.take:after'],
  ['before the route follows', 'destination.ownership.lead:before'],
];
/** How long the daemons are without it. */
const WITHOUT_MS = 400;

test('in a lab', { skip }, async (t) => {
  const faults = new Faults();
  let manager!: Manager;
  let service!: string;
  let load!: Load;
  let probes = 0;
  let migrations = 0;
  before(async () => {
    await faults.labUp();
    await start('square.yaml', 'vm1');
    service = (await find('square'))?.service ?? '';
    manager = new Manager();
    load = new Load({ service, rate: 500, seconds: 600 });
    await load.begun;
  });
  after(async () => {
    faults.close();
    await manager.close();
    await runComicran(['lab', 'down']);
  });

  const elsewhere = async () => {
    const from = (await find('square'))?.vm ?? '';
    return { from, to: from === 'vm1' ? 'vm2' : 'vm1' };
  };

  /** A migration that loses its sdn at this point, and finds it again. */
  const withoutSdn = async (point: FaultPoint, meanwhile: () => Promise<void>): Promise<string> => {
    const { from, to } = await elsewhere();
    faults.arm(point, 'stop');
    const moving = manager.migrate('square', to, { mode: 'replicated', fallback: 'none' }).then(
      () => 'moved',
      (thrown: unknown) => (thrown instanceof NotMoved ? 'stayed' : String(thrown)),
    );
    await faults.halted(point, point.startsWith('source') ? from : to, async () => {
      killDaemon('sdn');
      await meanwhile();
    });
    await pause(WITHOUT_MS);
    await runComicran(['lab', 'up']);
    const outcome = await moving;
    const last = await lastMigration('square', ++migrations);
    assert.equal(last.outcome, outcome);
    const found = await find('square');
    assert.deepEqual([found?.state, found?.vm], ['running', outcome === 'moved' ? to : from]);
    return outcome;
  };

  for (const [when, point] of POINTS)
    await t.test(`the sdn dies ${when}`, async () => {
      await withoutSdn(point, async () => {
        await askCount(service);
        probes++;
      });
      await askCount(service);
      probes++;
    });

  await t.test(
    'a second migration is refused, at the same daemon and at the other one; the first is unharmed',
    async () => {
      const attempts: readonly [FaultPoint, (from: string, to: string) => Promise<void>][] = [
        [
          'destination.restoring.rehearse:before',
          (_from, to) =>
            assert.rejects(runComicran(['smanager', 'migrate', 'square', to]), /'square' is in a migration/),
        ],
        [
          'source.traffic.prepareCut:before',
          async (from, to) => assert.equal(await refusalOfMigrate(to, 'square', from), 'migration.busy'),
        ],
      ];
      for (const [point, attempt] of attempts) {
        const { from, to } = await elsewhere();
        faults.arm(point, 'stop');
        const moving = manager.migrate('square', to, { mode: 'replicated', fallback: 'none' });
        moving.catch(() => undefined);
        await faults.halted(point, point.startsWith('source') ? from : to, () => attempt(from, to));
        assert.equal((await moving).to, to);
        migrations++;
      }
    },
  );

  await t.test('nobody outside has noticed anything', async () => {
    const { lost, duplicated, wrong, counter } = await load.end();
    assert.deepEqual({ lost, duplicated, wrong }, { lost: 0, duplicated: 0, wrong: 0 });
    assert.deepEqual([counter?.missing, counter?.repeated], [probes, 0]);
  });

  for (const [when, point] of LATE_POINTS)
    await t.test(`the sdn dies ${when}: one owner, and nothing is lost`, async () => {
      const late = new Load({ service, rate: 500, seconds: 120 });
      let outcome = '';
      try {
        await late.begun;
        outcome = await withoutSdn(point, () => Promise.resolve());
        await untilAnswered(service);
      } finally {
        const { lost, duplicated, wrong } = await late.end();
        assert.deepEqual({ lost, duplicated, wrong }, { lost: 0, duplicated: 0, wrong: 0 });
      }
      if (point !== 'destination.ownership.take:before') assert.equal(outcome, 'moved');
    });
});
