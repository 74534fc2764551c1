/** A daemon that is killed in a `postcopy` migration: its next run goes on, and no page of the memory is lost or false. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { runComicran } from '../../src/lab/demo/program.ts';
import { type FaultPoint, Faults } from '../support/faults.ts';
import { client, find, migrate } from '../support/lab.ts';
import { needs } from '../support/needs.ts';
import { startServer } from '../support/server-config.ts';

const skip = needs('root');
const NAME = 'kept';

/** It answers, at one place, and has found no page of its memory changed. */
async function assertWhole(where: string): Promise<void> {
  const found = await find(NAME);
  assert.deepEqual([found?.vm, found?.state], [where, 'running']);
  // Twice as long as it takes the server to look at every page.
  const { lost, duplicated, wrong, answered } = await client(found?.service ?? '', 500, 1.3);
  assert.deepEqual({ lost, duplicated, wrong }, { lost: 0, duplicated: 0, wrong: 0 });
  assert.ok(answered > 600, `${answered} answers`);
}

test('in a lab', { skip }, async (t) => {
  const faults = new Faults();
  before(async () => {
    await faults.labUp();
    const options = ['--memory', '64M', '--touch', '100M/s'];
    await startServer({ id: NAME, options, address: '10.88.0.90', service: 5090 }, 'vm1');
  });
  after(async () => {
    await runComicran(['lab', 'down']);
    faults.close();
  });

  /** Where the daemon is killed, and where the sandbox is when it is there again. */
  const POINTS: readonly (readonly [FaultPoint, 'vm1' | 'vm2'])[] = [
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
      const outcome = await faults.killedAt(point, node, () => migrate(NAME, 'vm2', 'postcopy'));
      // A source that lives waits for the destination's next run.
      if (node === 'vm2') {
        const why = outcome.status === 'rejected' ? String(outcome.reason) : undefined;
        assert.equal(outcome.status, expected === 'vm2' ? 'fulfilled' : 'rejected', why);
      }
      await assertWhole(expected);
      if (expected === 'vm1') return;
      await migrate(NAME, 'vm1', 'postcopy');
      await assertWhole('vm1');
    });
  }
});
