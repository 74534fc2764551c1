/** The whole chain by its public commands: servers move between the lab's machines while they are asked. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { runComicran } from '../../src/lab/demo/program.ts';
import { client, find, type Listed, type Migrated, migrate, ps, start } from '../support/lab.ts';
import { Manager } from '../support/manager.ts';
import { needs } from '../support/needs.ts';
import { startServer } from '../support/server-config.ts';
import { underLoad } from '../support/under-load.ts';

const skip = needs('root');

async function thereAndBack(name: string): Promise<Migrated[]> {
  const there = await migrate(name, 'vm2');
  return [there, await migrate(name, 'vm1')];
}

async function serviceOf(name: string): Promise<string> {
  const service = (await find(name))?.service;
  assert.ok(service, `'${name}' has no service`);
  return service;
}

test('in a lab', { skip }, async (t) => {
  let first: Listed | undefined;
  before(() => runComicran(['lab', 'up']));
  after(() => runComicran(['lab', 'down']));

  await t.test('a counting server under 5,000 requests a second: every one answered once, counted once', async () => {
    await start('square.yaml', 'vm1');
    first = await find('square');
    const result = await underLoad('square', 5000, () => thereAndBack('square'));
    assert.deepEqual(
      result.map((moved) => [moved.from, moved.to, moved.datagramsDropped]),
      [
        ['vm1', 'vm2', 0],
        ['vm2', 'vm1', 0],
      ],
    );
    assert.ok(result.every((moved) => moved.pages > 100 && moved.bytes > moved.pages * 4096 && moved.stopMs > 0));
  });

  await t.test('ps shows what is promised of it, as JSON', async () => {
    const [row] = await ps();
    assert.ok(row);
    const { name, vm, state } = row;
    assert.deepEqual({ name, vm, state }, { name: 'square', vm: 'vm1', state: 'running' });
    assert.match(row.service ?? '', /^10\.70\.0\.1:5006$/);
    // Two moves later: the same process, of the same age, with another PID on its machine.
    assert.ok(row.pidInside !== null && row.startedUnixMs !== null);
    assert.deepEqual([row.pidInside, row.startedUnixMs], [first?.pidInside, first?.startedUnixMs]);
    assert.notEqual(row.pid, first?.pid);
  });

  await t.test(
    'a start comes back when the server listens; one that ends before that is told with its last words',
    async () => {
      const options = ['--no-such-option'];
      const dead = { id: 'dead', options, address: '10.88.0.75', service: 5075 };
      await assert.rejects(
        startServer(dead, 'vm1'),
        /has ended on vm1 \(exit 1\) before it bound port 5006\/udp[\s\S]*no-such-option/,
      );
      const { state, exitCode } = (await find('dead'))!;
      assert.deepEqual({ state, exitCode }, { state: 'stopped', exitCode: 1 });
      await runComicran(['smanager', 'terminate', 'dead']);
      const live = { ...dead, options: [] };
      await startServer(live, 'vm1');
      const { answered } = await client(await serviceOf('dead'), 1000, 0.02, 0.1);
      assert.equal(answered, 20, 'from the first request on');
      await runComicran(['smanager', 'terminate', 'dead']);
    },
  );

  await t.test('a second sandbox moves while the first one is asked', async () => {
    await start('dnsmasq.yaml', 'vm2');
    await underLoad('square', 1000, async () => {
      assert.equal((await migrate('dnsmasq', 'vm1')).to, 'vm1');
      assert.equal((await migrate('dnsmasq', 'vm2')).to, 'vm2');
    });
    await runComicran(['smanager', 'terminate', 'dnsmasq']);
  });

  await t.test('what a server wrote before and after a migration is all in its log', async () => {
    const log = await runComicran(['smanager', 'logs', 'square']);
    assert.match(log, /listening on/);
  });

  await t.test('when a migration has been reported the next one can begin, and an abort is heard', async () => {
    const manager = new Manager();
    try {
      for (let round = 0; round < 4; round++)
        for (const to of ['vm2', 'vm1']) await manager.migrate('square', to, { mode: 'stopcopy' });
    } finally {
      await manager.close();
    }
    const moving = migrate('square', 'vm2');
    const settled = moving.then(
      () => 'vm2',
      () => 'vm1',
    );
    await new Promise((resolve) => setTimeout(resolve, 350));
    const aborted = await runComicran(['smanager', 'abort', 'square']).then(
      () => true,
      () => false,
    );
    const where = await settled;
    assert.equal((await find('square'))?.vm, where);
    assert.ok(aborted || where === 'vm2', 'a migration that nobody aborted has failed');
    if (where === 'vm2') await migrate('square', 'vm1');
  });

  await t.test('terminate ends it, wherever it is, and its address is free again', async () => {
    await runComicran(['smanager', 'terminate', 'square']);
    assert.deepEqual(await ps(), []);
    await start('square.yaml', 'vm2');
    await runComicran(['smanager', 'terminate', 'square']);
  });
});
