/** Servers that can be replicated and such that cannot, as an operator moves them. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { PlanFigures } from '../../src/lab/demo/figures.ts';
import { parseJsonOutput, runComicran } from '../../src/lab/demo/program.ts';
import { find, start } from '../support/lab.ts';
import { Manager, NotMoved } from '../support/manager.ts';
import { needs } from '../support/needs.ts';
import { startServer } from '../support/server-config.ts';
import { underLoad } from '../support/under-load.ts';

const skip = needs('root');
const RATE = 1000;
/** Address of the lab's user equipment, and a port on which nobody listens. */
const PEER = '10.70.0.2:7000';

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

  async function plan(name: string, to: string): Promise<PlanFigures> {
    return parseJsonOutput(await runComicran(['smanager', 'migrate', name, to, '--dry-run', '--json'])) as PlanFigures;
  }

  await t.test('a deterministic server is replicated, and the result says what that rests on', async () => {
    await startServer({ id: 'steady', options: [], address: '10.88.0.70', service: 5070 }, 'vm1');
    assert.equal((await plan('steady', 'vm2')).wouldUse, 'replicated');
    const moved = await underLoad('steady', RATE, () => manager.migrate('steady', 'vm2'));
    assert.deepEqual([moved.mode, moved.reason, moved.atRisk], ['replicated', null, 0]);
    assert.ok((moved.inputsReplayed ?? 0) > 0 && (moved.outputsCompared ?? 0) > 0, JSON.stringify(moved));
    assert.ok((moved.freezeUs ?? 0) > 0 && (moved.cutoverUs ?? 0) > 0);
    await runComicran(['smanager', 'terminate', 'steady']);
  });

  const random = { id: 'random', options: ['--answer', 'random'], address: '10.88.0.71', service: 5071 };
  const fickle = { clock: () => start('clock.yaml', 'vm1'), random: () => startServer(random, 'vm1') };
  for (const [name, startIt] of Object.entries(fickle)) {
    await t.test(`answers that depend on ${name}: noticed, nobody outside has, then the fallback`, async () => {
      await startIt();
      await underLoad(name, RATE, async () => {
        const refused = manager.migrate(name, 'vm2', { mode: 'replicated', fallback: 'none' });
        await assert.rejects(refused, (thrown) => thrown instanceof NotMoved && thrown.code === 'replication.diverged');
        assert.equal((await find(name))?.vm, 'vm1');
        const moved = await manager.migrate(name, 'vm2', { fallback: 'stopcopy' });
        assert.equal(moved.mode, 'stopcopy');
        assert.match(moved.reason ?? '', /10\.88\.0\.(8|71):/, 'the first output that differed, by its flow');
      });
      await runComicran(['smanager', 'terminate', name]);
    });
  }

  await t.test('what a server sends by timer: a divergence, unless it is declared', async () => {
    const options = ['--heartbeat', `${PEER}/5`];
    await startServer({ id: 'beating', options, address: '10.88.0.72', service: 5072 }, 'vm1');
    await underLoad('beating', RATE, async () => {
      const moved = await manager.migrate('beating', 'vm2', { fallback: 'none', more: ['--uncompared', '7000'] });
      assert.equal(moved.mode, 'replicated');
    });
    await runComicran(['smanager', 'terminate', 'beating']);
  });

  await t.test('memory that changes while it is copied arrives whole', async () => {
    const options = ['--memory', '64M', '--touch', '40M/s'];
    await startServer({ id: 'writing', options, address: '10.88.0.73', service: 5073 }, 'vm1');
    await underLoad('writing', RATE, async () => {
      assert.equal((await manager.migrate('writing', 'vm2')).to, 'vm2');
      assert.equal((await manager.migrate('writing', 'vm1')).to, 'vm1');
      // Long enough for every page to be looked at.
      await new Promise((resolve) => setTimeout(resolve, 2200));
    });
    await runComicran(['smanager', 'terminate', 'writing']);
  });

  await t.test('what cannot be replicated is named by the dry run, and moved in another mode', async () => {
    await start('dnsmasq.yaml', 'vm1');
    const { modes, wouldUse } = await plan('dnsmasq', 'vm2');
    const replicated = modes.find(({ mode }) => mode === 'replicated');
    assert.equal(replicated?.possible, false);
    assert.match(replicated.whyNot ?? '', /TCP/);
    assert.ok(wouldUse !== null && wouldUse !== 'replicated');
    const moved = await manager.migrate('dnsmasq', 'vm2');
    assert.deepEqual([moved.mode, moved.to], [wouldUse, 'vm2']);
    assert.match(moved.reason ?? '', /TCP/);
  });
});
