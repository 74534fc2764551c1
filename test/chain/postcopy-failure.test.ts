/** A daemon that is killed in a `postcopy` migration: its next run goes on, and no page of the memory is lost or false. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { runComicran } from '../../src/lab/demo/program.ts';
import { daemonLives, restartDaemon } from '../support/daemons.ts';
import { client, find, migrate } from '../support/lab.ts';
import { needs } from '../support/needs.ts';
import { startServer } from '../support/server-config.ts';

const skip = needs('root');
const NAME = 'kept';
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** It answers, at one place, and has found no page of its memory changed. */
async function assertWhole(where: string): Promise<void> {
  const found = await find(NAME);
  assert.deepEqual([found?.vm, found?.state], [where, 'running']);
  // Long enough for every page to be looked at.
  const { lost, duplicated, wrong, answered } = await client(found?.service ?? '', 500, 4);
  assert.deepEqual({ lost, duplicated, wrong }, { lost: 0, duplicated: 0, wrong: 0 });
  assert.ok(answered > 1500);
}

test('in a lab', { skip }, async (t) => {
  before(async () => {
    await runComicran(['lab', 'up']);
    const options = ['--memory', '64M', '--touch', '20M/s'];
    await startServer({ id: NAME, options, address: '10.88.0.90', service: 5090 }, 'vm1');
  });
  after(() => runComicran(['lab', 'down']));

  /** Where the daemon is killed, and where the sandbox is when it is there again. */
  const POINTS: readonly (readonly [string, 'vm1' | 'vm2'])[] = [
    ['source.paging.serve:after', 'vm1'],
    ['source.frozen.holdStopped:after', 'vm1'],
    ['source.packets.drain:before', 'vm2'],
    ['source.packets.drain:after', 'vm2'],
    ['source.frozen.kill:before', 'vm2'],
    ['destination.paging.start:after', 'vm1'],
    ['destination.restoring.finish:after', 'vm1'],
    ['destination.ownership.take:after', 'vm2'],
    ['destination.restoring.run:before', 'vm2'],
    ['destination.restoring.run:after', 'vm2'],
    ['destination.packets.release:after', 'vm2'],
  ];
  for (const [point, expected] of POINTS) {
    await t.test(`${point}: its memory is whole, at ${expected}`, async () => {
      const node = point.startsWith('source') ? 'vm1' : 'vm2';
      await restartDaemon(node, `${point}=kill`);
      const moving = migrate(NAME, 'vm2', 'postcopy').then(
        () => 'moved',
        (thrown: unknown) => String(thrown),
      );
      while (daemonLives(node)) await pause(20);
      await restartDaemon(node, undefined);
      const outcome = await moving;
      // A source that lives waits for the destination's next run.
      if (node === 'vm2') assert.equal(outcome === 'moved', expected === 'vm2', outcome);
      await assertWhole(expected);
      if (expected === 'vm2') await migrate(NAME, 'vm1', 'postcopy');
      await assertWhole('vm1');
    });
  }
});
