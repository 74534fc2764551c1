/** The modes that differ in when the memory moves: behind the process (`postcopy`), or before it (`precopy`). */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { runComicran } from '../../src/lab/demo/program.ts';
import { Manager } from '../support/manager.ts';
import { needs } from '../support/needs.ts';
import { startServer } from '../support/server-config.ts';
import { underLoad } from '../support/under-load.ts';

const skip = needs('root');
const RATE = 1000;

test('in a lab', { skip }, async (t) => {
  let manager!: Manager;
  before(async () => {
    await runComicran(['lab', 'up']);
    manager = new Manager();
  });
  after(async () => {
    await manager.close();
    await runComicran(['lab', 'down']);
  });

  for (const [index, mode] of ['postcopy', 'precopy'].entries()) {
    await t.test(`${mode}, there and back under load: nothing lost, nothing twice`, async () => {
      const id = `move-${mode}`;
      await startServer({ id, options: [], address: `10.88.0.${80 + index}`, service: 5080 + index }, 'vm1');
      await underLoad(id, RATE, async () => {
        for (const to of ['vm2', 'vm1', 'vm2', 'vm1']) {
          const moved = await manager.migrate(id, to, { mode });
          assert.deepEqual([moved.mode, moved.to, moved.datagramsDropped], [mode, to, 0]);
        }
      });
      await runComicran(['smanager', 'terminate', id]);
    });

    await t.test(`${mode}, 64 MB that are written all the time: every page arrives as it was`, async () => {
      const id = `write-${mode}`;
      const options = ['--memory', '64M', '--touch', '40M/s'];
      await startServer({ id, options, address: `10.88.0.${84 + index}`, service: 5084 + index }, 'vm1');
      await underLoad(id, RATE, async () => {
        for (const to of ['vm2', 'vm1']) {
          const moved = await manager.migrate(id, to, { mode });
          assert.equal(moved.to, to);
        }
        // Long enough for every page to be looked at.
        await new Promise((resolve) => setTimeout(resolve, 2200));
      });
      await runComicran(['smanager', 'terminate', id]);
    });
  }
});
