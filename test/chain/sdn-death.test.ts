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
import { type HaltPoint, Halts } from '../support/halts.ts';
import { lastMigration } from '../support/known-migrations.ts';
import { find, start } from '../support/lab.ts';
import { Manager, NotMoved } from '../support/manager.ts';
import { needs } from '../support/needs.ts';
import { askCount } from '../support/probe.ts';

const skip = needs('root');
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Where the migration is when the sdn dies, and whether the process at the source runs then. */
const POINTS: readonly (readonly [string, HaltPoint, boolean])[] = [
  ['before the snapshot', 'destination.packets.hold:after', true],
  ['in the copy', 'destination.restoring.writePages:after', true],
  ['in the log phase', 'source.process.stop:before', true],
  ['just before the compare-and-set', 'destination.ownership.take:before', false],
  ['just behind the compare-and-set', 'destination.ownership.take:after', false],
];
/** How long the daemons are without it. */
const WITHOUT_MS = 400;

test('in a lab', { skip }, async (t) => {
  const halts = new Halts();
  let manager!: Manager;
  let service!: string;
  let load!: Load;
  let probes = 0;
  let migrations = 0;
  before(async () => {
    await halts.labUp();
    await start('square.yaml', 'vm1');
    service = (await find('square'))?.service ?? '';
    manager = new Manager();
    load = new Load({ service, rate: 500, seconds: 600 });
  });
  after(async () => {
    halts.close();
    await manager.close();
    await runComicran(['lab', 'down']);
  });

  const elsewhere = async () => {
    const from = (await find('square'))?.vm ?? '';
    return { from, to: from === 'vm1' ? 'vm2' : 'vm1' };
  };

  for (const [when, point, sourceRuns] of POINTS)
    await t.test(`the sdn dies ${when}`, async () => {
      const { from, to } = await elsewhere();
      halts.arm(point);
      const moving = manager.migrate('square', to, { mode: 'replicated', fallback: 'none' }).then(
        () => 'moved',
        (thrown: unknown) => (thrown instanceof NotMoved ? 'stayed' : String(thrown)),
      );
      await halts.at(point, point.startsWith('source') ? from : to, async () => {
        killDaemon('sdn');
        if (!sourceRuns) return;
        await askCount(service);
        probes++;
      });
      await pause(WITHOUT_MS);
      await runComicran(['lab', 'up']);
      const outcome = await moving;
      const last = await lastMigration('square', ++migrations);
      assert.equal(last.outcome, outcome);
      const found = await find('square');
      assert.deepEqual([found?.state, found?.vm], ['running', outcome === 'moved' ? to : from]);
      await askCount(service);
      probes++;
    });

  await t.test(
    'a second migration is refused, at the same daemon and at the other one; the first is unharmed',
    async () => {
      const attempts: readonly [HaltPoint, (from: string, to: string) => Promise<void>][] = [
        [
          'destination.restoring.rehearse:before',
          (_from, to) =>
            assert.rejects(runComicran(['smanager', 'migrate', 'square', to]), /'square' is in a migration/),
        ],
        [
          'source.process.stop:before',
          async (from, to) => assert.equal(await refusalOfMigrate(to, 'square', from), 'migration.busy'),
        ],
      ];
      for (const [point, attempt] of attempts) {
        const { from, to } = await elsewhere();
        halts.arm(point);
        const moving = manager.migrate('square', to, { mode: 'replicated', fallback: 'none' });
        moving.catch(() => undefined);
        await halts.at(point, point.startsWith('source') ? from : to, () => attempt(from, to));
        assert.equal((await moving).to, to);
      }
    },
  );

  await t.test('nobody outside has noticed anything', async () => {
    const { lost, duplicated, wrong, counter } = await load.end();
    assert.deepEqual({ lost, duplicated, wrong }, { lost: 0, duplicated: 0, wrong: 0 });
    assert.deepEqual([counter?.missing, counter?.repeated], [probes, 0]);
  });
});
