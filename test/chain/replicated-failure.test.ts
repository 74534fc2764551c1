/** A daemon that fails or is killed at any step of a replicated migration: one owner, which answers; no answer twice. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { runComicran } from '../../src/lab/demo/program.ts';
import { assertAnswers, killDaemon } from '../support/daemons.ts';
import { type FaultPoint, Faults } from '../support/faults.ts';
import { find, migrate, start } from '../support/lab.ts';
import { needs } from '../support/needs.ts';
import { reportUnderLoad } from '../support/under-load.ts';

const skip = needs('root');
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** After the migration: requests that its end is to answer. */
const MARGIN_MS = 400;

/** A point, and where the sandbox must be when the daemon is there again. */
const POINTS: readonly (readonly [FaultPoint, 'vm1' | 'vm2'])[] = [
  ['source.traffic.start:after', 'vm1'],
  ['source.process.snapshot:after', 'vm1'],
  ['source.traffic.prepareCut:before', 'vm1'],
  ['source.traffic.cut:before', 'vm1'],
  ['source.traffic.cut:after', 'vm1'],
  ['source.process.stop:after', 'vm2'],
  ['source.packets.drain:before', 'vm2'],
  ['source.stopped.kill:before', 'vm2'],
  ['destination.restoring.rehearse:after', 'vm1'],
  ['destination.ownership.take:before', 'vm1'],
  ['destination.ownership.take:after', 'vm1'],
  ['destination.replay.release:after', 'vm2'],
];

test('in a lab', { skip }, async (t) => {
  const faults = new Faults();
  before(async () => {
    await faults.labUp();
    await start('square.yaml', 'vm1');
  });
  after(async () => {
    await runComicran(['lab', 'down']);
    faults.close();
  });

  const move = (to = 'vm2') => migrate('square', to, 'replicated', 'none');

  /** What the clients see while it is moved; the migration may fail. */
  const underLoad = (meanwhile: () => Promise<unknown>) =>
    reportUnderLoad('square', 500, meanwhile, { marginMs: MARGIN_MS });

  for (const [point, expected] of POINTS)
    await t.test(`${point}=kill: one owner, which answers, and no answer twice`, async () => {
      const node = point.startsWith('source') ? 'vm1' : 'vm2';
      const { duplicated, wrong, lost } = await underLoad(() => faults.killedAt(point, node, () => move()));
      assert.deepEqual({ duplicated, wrong }, { duplicated: 0, wrong: 0 });
      if (expected === 'vm1') assert.equal(lost, 0);
      await assertAnswers(expected);
      if (expected === 'vm2') await move('vm1');
    });

  await t.test('the process ends while its copy follows: it is said at once, and nothing of it is left', async () => {
    faults.arm('source.traffic.wait:after', 'end');
    await assert.rejects(migrate('square', 'vm2', 'replicated', 'precopy'), (thrown: Error) => {
      assert.match(thrown.message, /the process of square has ended at vm1[\s\S]*next: .*start it again/);
      assert.doesNotMatch(thrown.message, /runs on|E[A-Z]{4,}/);
      return true;
    });
    const found = await find('square');
    assert.deepEqual([found?.vm, found?.state, found?.service], ['vm1', 'stopped', null]);
    await runComicran(['smanager', 'terminate', 'square']);
    await start('square.yaml', 'vm1');
  });

  for (const point of ['source.traffic.prepareCut:after', 'source.traffic.cut:before'] as const)
    await t.test(`${point}=end: the process ends in the cutover, and its copy goes on`, async () => {
      faults.arm(point, 'end');
      const { duplicated, wrong } = await underLoad(() => move());
      assert.deepEqual({ duplicated, wrong }, { duplicated: 0, wrong: 0 });
      await assertAnswers('vm2');
      await move('vm1');
    });

  await t.test(
    'the sdn is killed in the middle: nothing is lost, and it goes on when the sdn is there again',
    async () => {
      const { duplicated, wrong, lost } = await underLoad(async () => {
        const moving = move().catch(() => undefined);
        await pause(250);
        killDaemon('sdn');
        await pause(200);
        await runComicran(['lab', 'up']);
        await moving;
      });
      assert.deepEqual({ duplicated, wrong, lost }, { duplicated: 0, wrong: 0, lost: 0 });
      const where = (await find('square'))?.vm;
      assert.ok(where === 'vm1' || where === 'vm2');
      await assertAnswers(where);
      if (where === 'vm2') await move('vm1');
    },
  );

  await t.test('a second migration of the same sandbox is refused', async () => {
    const first = move();
    first.catch(() => undefined);
    const others = await Promise.allSettled([1, 2, 3].map(() => move()));
    const moved = [
      await first.then(
        () => 'moved',
        () => 'refused',
      ),
      ...others.map(({ status }) => status),
    ];
    assert.equal(moved.filter((end) => end === 'moved' || end === 'fulfilled').length, 1, moved.join(' '));
    assert.equal((await find('square'))?.vm, 'vm2');
    await assertAnswers('vm2');
  });
});
