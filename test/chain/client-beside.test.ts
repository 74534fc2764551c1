/** A client on the machine that a sandbox leaves: what it asks does not come by the SDN node before it has left. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Load } from '../../src/lab/demo/load.ts';
import { runComicran } from '../../src/lab/demo/program.ts';
import { migrate } from '../support/lab.ts';
import { needs } from '../support/needs.ts';
import { startServer } from '../support/server-config.ts';

const ADDRESS = '10.88.0.85';

test('in a lab', { skip: needs('root') }, async (t) => {
  before(() => runComicran(['lab', 'up']));
  after(() => runComicran(['lab', 'down']));

  await t.test('nothing of what it asks is lost while the sandbox is replicated away, nor behind that', async () => {
    await startServer({ id: 'left', options: [], address: ADDRESS, service: 5085 }, 'vm1');
    const load = new Load({ service: `${ADDRESS}:5006`, node: 'vm1', rate: 500, seconds: 240 });
    const moved = load.begun.then(() => migrate('left', 'vm2', 'replicated', 'none'));
    await moved.catch(() => undefined);
    const { lost, duplicated, wrong, exactlyOnce } = await load.end();
    assert.equal((await moved).mode, 'replicated');
    assert.deepEqual({ lost, duplicated, wrong, exactlyOnce }, { lost: 0, duplicated: 0, wrong: 0, exactlyOnce: true });
    await runComicran(['smanager', 'terminate', 'left']);
  });
});
