/** A daemon that fails or is killed at any step of a replicated migration: one owner, which answers; no answer twice. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { runComicran } from '../../src/lab/demo/program.ts';
import { assertAnswers, daemonLives, killDaemon, restartDaemon } from '../support/daemons.ts';
import { client, find, migrate, start } from '../support/lab.ts';
import { needs } from '../support/needs.ts';

const skip = needs('root');
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** A daemon that has been killed is there again by then, also on a machine that has much to do. */
const RESTART_SECONDS = 6;

/** A migration has come to each of the points by then, also on a machine that has much to do. */
const MAX_PREPARING_MS = 20_000;

/** A point, and where the sandbox must be when the daemon is there again. */
const POINTS: readonly (readonly [string, 'vm1' | 'vm2'])[] = [
  ['source.traffic.start:after', 'vm1'],
  ['source.process.snapshot:after', 'vm1'],
  ['source.process.stop:before', 'vm1'],
  ['source.process.stop:after', 'vm1'],
  ['source.traffic.cut:after', 'vm1'],
  ['source.packets.drain:before', 'vm2'],
  ['source.stopped.kill:before', 'vm2'],
  ['destination.restoring.rehearse:after', 'vm1'],
  ['destination.ownership.take:before', 'vm1'],
  ['destination.ownership.take:after', 'vm1'],
  ['destination.replay.release:after', 'vm2'],
];

test('in a lab', { skip }, async (t) => {
  before(async () => {
    await runComicran(['lab', 'up']);
    await start('square.yaml', 'vm1');
  });
  after(() => runComicran(['lab', 'down']));

  /** Moves it under load; the migration may fail. */
  const moveUnderLoad = async (meanwhile: () => Promise<unknown>) => {
    const load = client((await find('square'))?.service ?? '', 500, 3, RESTART_SECONDS);
    load.catch(() => undefined);
    await pause(400);
    await meanwhile();
    return load;
  };

  for (const [point, expected] of POINTS)
    await t.test(`${point}=kill: one owner, which answers, and no answer twice`, async () => {
      const node = point.startsWith('source') ? 'vm1' : 'vm2';
      await restartDaemon(node, `${point}=kill`);
      const { duplicated, wrong, lost } = await moveUnderLoad(async () => {
        const moving = migrate('square', 'vm2', 'replicated', 'none').catch(() => undefined);
        for (let waited = 0; daemonLives(node) && waited < MAX_PREPARING_MS; waited += 20) await pause(20);
        await restartDaemon(node, undefined);
        await moving;
      });
      assert.deepEqual({ duplicated, wrong }, { duplicated: 0, wrong: 0 });
      assert.equal((await find('square'))?.vm, expected);
      if (expected === 'vm1') assert.equal(lost, 0);
      await assertAnswers(expected);
      if (expected === 'vm2') await migrate('square', 'vm1', 'replicated', 'none');
    });

  await t.test('the process ends while its copy follows: it is said at once, and nothing of it is left', async () => {
    await restartDaemon('vm1', 'source.traffic.wait:after=end');
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

  for (const point of ['source.process.stop:after', 'source.traffic.cut:before'])
    await t.test(`${point}=end: the process ends in the cutover, and its copy goes on`, async () => {
      await restartDaemon('vm1', `${point}=end`);
      const { duplicated, wrong } = await moveUnderLoad(() => migrate('square', 'vm2', 'replicated', 'none'));
      assert.deepEqual({ duplicated, wrong }, { duplicated: 0, wrong: 0 });
      await assertAnswers('vm2');
      await migrate('square', 'vm1', 'replicated', 'none');
    });

  await t.test(
    'the sdn is killed in the middle: nothing is lost, and it goes on when the sdn is there again',
    async () => {
      const { duplicated, wrong, lost } = await moveUnderLoad(async () => {
        const moving = migrate('square', 'vm2', 'replicated', 'none').catch(() => undefined);
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
      if (where === 'vm2') await migrate('square', 'vm1', 'replicated', 'none');
    },
  );

  await t.test('a second migration of the same sandbox is refused', async () => {
    const first = migrate('square', 'vm2', 'replicated', 'none');
    first.catch(() => undefined);
    const others = await Promise.allSettled([1, 2, 3].map(() => migrate('square', 'vm2', 'replicated', 'none')));
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
