/**
 * The whole chain between two real virtual machines: QEMU, a stock Debian kernel, by KVM where it works and software emulation
 * where it does not. `npm run test:vms`; not a part of `npm test`, as it takes minutes. Needs root, QEMU and Debian's packages.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { runComicran } from '../../src/lab/demo/program.ts';
import { MODES } from '../../src/migration/modes.ts';
import { find } from '../support/lab.ts';
import { needs } from '../support/needs.ts';
import { askedDuring, cutOff, kill, migrateWith, NEEDED, NOTHING, paused, startSquare, whereIs } from './support.ts';

const skip = needs(...NEEDED);
const STALL_MS = 2000;

test('two virtual machines', { skip }, async (t) => {
  // As machines have it: clocks that do not agree.
  before(() => runComicran(['lab', 'up', '--vms', '--clock', 'vm2=600']));
  after(() => runComicran(['lab', 'down']));

  await t.test('a server is started, and answers', async () => {
    await startSquare('vm1');
    assert.deepEqual(await askedDuring('square', async () => undefined), NOTHING);
  });

  for (const mode of MODES) {
    await t.test(`${mode}: it moves, and no request is lost, answered twice or wrongly`, async () => {
      const before = await whereIs('square');
      const figures = await askedDuring('square', async () => {
        const { moved, why } = await migrateWith('square', mode);
        assert.equal(why, '');
        assert.equal(moved?.mode, mode);
      });
      assert.deepEqual(figures, NOTHING);
      assert.notEqual(await whereIs('square'), before);
    });
  }

  const other = async (): Promise<string> => ((await whereIs('square')) === 'vm1' ? 'vm2' : 'vm1');

  await t.test('the destination stands still for two seconds: nothing is lost, wherever it ends up', async () => {
    const destination = await other();
    const figures = await askedDuring('square', async () => {
      await migrateWith('square', 'precopy', { phase: 'connect', act: () => paused(destination, STALL_MS) });
    });
    assert.deepEqual(figures, NOTHING);
    assert.equal((await find('square'))?.state, 'running');
  });

  await t.test("the destination's link is cut for two seconds: nothing is lost", async () => {
    const destination = await other();
    const figures = await askedDuring('square', async () => {
      await migrateWith('square', 'precopy', { phase: 'connect', act: () => cutOff(destination, STALL_MS) });
    });
    assert.deepEqual(figures, NOTHING);
    assert.equal((await find('square'))?.state, 'running');
  });

  for (const [mode, phase] of [
    ['stopcopy', 'pages'],
    ['replicated', 'restore'],
  ] as const) {
    await t.test(
      `${mode}: the destination dies in '${phase}': no request is lost, and it goes on where it was`,
      async () => {
        const [source, destination] = [await whereIs('square'), await other()];
        const figures = await askedDuring('square', async () => {
          const { moved } = await migrateWith('square', mode, { phase, act: () => kill(destination) });
          assert.equal(moved, undefined);
        });
        assert.deepEqual(figures, NOTHING);
        assert.equal(await whereIs('square'), source);
        await runComicran(['lab', 'up']);
      },
    );
  }

  await t.test(
    'the source dies before the cutover: what is left is one server or none, and the record says which',
    async () => {
      const source = await whereIs('square');
      assert.ok(source);
      await migrateWith('square', 'stopcopy', { phase: 'capture', act: () => kill(source) });
      await runComicran(['lab', 'up']);
      const found = await find('square');
      assert.ok(found === undefined || ['lost', 'stopped', 'running'].includes(found.state), found?.state);
    },
  );
});

test('two virtual machines with different CPUs', { skip }, async (t) => {
  before(() => runComicran(['lab', 'up', '--vms', '--cpu', 'vm2=Nehalem']));
  after(() => runComicran(['lab', 'down']));

  await t.test('a server that may use what the other CPU has not is refused, by name, and runs on', async () => {
    await startSquare('vm1');
    const figures = await askedDuring('square', async () => {
      const { moved, why } = await migrateWith('square', 'stopcopy');
      assert.equal(moved, undefined);
      assert.match(why, /the CPU of the destination lacks .*avx/);
    });
    assert.deepEqual(figures, NOTHING);
    assert.equal(await whereIs('square'), 'vm1');
  });
});
