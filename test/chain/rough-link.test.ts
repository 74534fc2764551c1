/**
 * Migrations over a link that loses, doubles and swaps packets, or is cut for a while: for the migration's own connections
 * that is a matter of time, for the requests it is what the link has done to them and nothing more.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Load } from '../../src/lab/demo/load.ts';
import { runComicran } from '../../src/lab/demo/program.ts';
import { type FaultPoint, Faults } from '../support/faults.ts';
import { lastMigration } from '../support/known-migrations.ts';
import { find, start } from '../support/lab.ts';
import { watchLink } from '../support/link-law.ts';
import { Manager } from '../support/manager.ts';
import { needs } from '../support/needs.ts';
import { RoughLink } from '../support/rough-link.ts';

const skip = needs('root', 'ip');
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

const REQUESTS = { loss: 0.02, duplication: 0.03, reordering: 0.03 };
const CONNECTIONS = { loss: 0.02, duplication: 0.02, reordering: 0.02 };
/** Of two fragments each, and answered in three. */
const LONG_DIGITS = 2000;
const CUT_MS = 2_000;

/** When the link of vm1 is cut, and which way the sandbox is moving then. */
const CUTS: readonly (readonly [string, FaultPoint, 'vm1' | 'vm2'])[] = [
  ['before READY', 'destination.restoring.rehearse:before', 'vm2'],
  ['in the log phase', 'source.traffic.prepareCut:before', 'vm2'],
  ['at TAKE, at the source', 'destination.ownership.take:before', 'vm2'],
  ['at TAKE, at the destination', 'destination.ownership.take:before', 'vm1'],
];

test('in a lab', { skip }, async (t) => {
  const faults = new Faults();
  let link!: RoughLink;
  let manager!: Manager;
  let service!: string;
  before(async () => {
    await faults.labUp();
    link = await RoughLink.to('vm1', 1);
    manager = new Manager();
    await start('square.yaml', 'vm1');
    service = (await find('square'))?.service ?? '';
  });
  after(async () => {
    await manager.close();
    await runComicran(['lab', 'down']);
    await link.close();
    faults.close();
  });

  let migrations = 0;
  const move = async (to: string, mode: string): Promise<void> => {
    migrations++;
    assert.equal((await manager.migrate('square', to, { mode })).to, to);
  };

  /** Moves it there and back over a rough link, in each of these modes, while it is asked. */
  const moveRoughly = async (modes: readonly string[], digits?: number): Promise<void> => {
    const watch = await watchLink(link, service, digits === undefined);
    const load = new Load({ service, rate: 500, seconds: 300, ...(digits === undefined ? {} : { digits }) });
    await load.begun;
    link.set(['requests'], REQUESTS);
    link.set(['control', 'migration'], CONNECTIONS);
    try {
      for (const mode of modes) for (const to of ['vm2', 'vm1']) await move(to, mode);
    } finally {
      link.heal();
      await watch.check(await load.end());
    }
    const { lost, duplicated, reordered } = link.sum('migration');
    assert.ok(lost > 0 && duplicated > 0 && reordered > 0);
  };

  await t.test('in every mode: requests and answers meet what the link does, and nothing else', async () => {
    await moveRoughly(['replicated', 'postcopy', 'precopy', 'stopcopy']);
  });

  await t.test('with fragments', async () => {
    await moveRoughly(['replicated'], LONG_DIGITS);
  });

  await t.test('a link that is cut for a while: one owner, who answers, and can be moved', async (each) => {
    const watch = await watchLink(link, service);
    const load = new Load({ service, rate: 200, seconds: 300 });
    try {
      await load.begun;
      for (const [when, point, to] of CUTS)
        await each.test(when, async () => {
          const from = to === 'vm1' ? 'vm2' : 'vm1';
          if ((await find('square'))?.vm !== from) await move(from, 'replicated');
          faults.arm(point, 'stop');
          const moving = manager
            .migrate('square', to, { mode: 'replicated', fallback: 'none' })
            .catch((thrown: unknown) => thrown);
          await faults.halted(point, point.startsWith('source') ? from : to, () => link.cut());
          await pause(CUT_MS);
          link.heal();
          await moving;
          const last = await lastMigration('square', ++migrations);
          const found = await find('square');
          assert.deepEqual([found?.state, found?.vm], ['running', last.outcome === 'moved' ? to : from]);
        });
      const where = (await find('square'))?.vm;
      await move(where === 'vm1' ? 'vm2' : 'vm1', 'replicated');
    } finally {
      link.heal();
      await watch.check(await load.end());
    }
  });
});
