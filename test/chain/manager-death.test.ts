/** smanager that is killed or interrupted in a migration: the daemons end it by themselves, and say what became of it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Load } from '../../src/lab/demo/load.ts';
import { runComicran } from '../../src/lab/demo/program.ts';
import { type FaultPoint, Faults } from '../support/faults.ts';
import { lastMigration } from '../support/known-migrations.ts';
import { find, start } from '../support/lab.ts';
import { needs } from '../support/needs.ts';

const skip = needs('root');
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
const COMICRAN = join(import.meta.dirname, '../../bin/comicran');

/** An operator's smanager, with what it says on stderr. */
function startMigration(to: string) {
  const words = ['smanager', 'migrate', 'square', to, '--mode', 'replicated', '--fallback', 'none', '--json'];
  const child = spawn(COMICRAN, words, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  return { child, ended: once(child, 'close'), said: () => said };
}

/** Where the daemon that is named in it faults, and what an interrupt at this moment leads to. */
const POINTS: readonly (readonly [string, FaultPoint, 'stayed' | 'moved'])[] = [
  ['before the snapshot', 'destination.packets.hold:after', 'stayed'],
  ['in the copy', 'destination.restoring.writePages:after', 'stayed'],
  ['in the log phase', 'destination.restoring.rehearse:after', 'stayed'],
  ['in the cutover', 'destination.ownership.take:before', 'moved'],
];

test('in a lab', { skip }, async (t) => {
  const faults = new Faults();
  let load!: Load;
  before(async () => {
    await faults.labUp();
    await start('square.yaml', 'vm1');
    load = new Load({ service: (await find('square'))?.service ?? '', rate: 500, seconds: 600 });
    await load.begun;
  });
  after(async () => {
    faults.close();
    await runComicran(['lab', 'down']);
  });

  let migrations = 0;
  /** Halts it at the point, does that to its smanager, and waits until the machines say that the migration is over. */
  const interrupted = async (point: FaultPoint, act: (moving: ReturnType<typeof startMigration>) => Promise<void>) => {
    const from = (await find('square'))?.vm;
    const to = from === 'vm1' ? 'vm2' : 'vm1';
    faults.arm(point, 'stop');
    const moving = startMigration(to);
    await faults.halted(point, to, async () => {
      await act(moving);
    });
    const last = await lastMigration('square', ++migrations);
    await moving.ended;
    const found = await find('square');
    assert.equal(found?.state, 'running');
    assert.equal(found.vm, last.outcome === 'moved' ? to : from, 'what ps says, and what became of the migration');
    assert.deepEqual([last.from, last.to], [from, to]);
    return { last, moving };
  };

  for (const [when, point, expected] of POINTS) {
    await t.test(`SIGKILL ${when}: it is moved all the same`, async () => {
      const { last } = await interrupted(point, async ({ child, ended }) => {
        child.kill('SIGKILL');
        await ended;
      });
      assert.deepEqual([last.outcome, last.mode], ['moved', 'replicated']);
    });

    await t.test(`SIGINT ${when}: ${expected}, and it says so`, async () => {
      const { last, moving } = await interrupted(point, async ({ child, said }) => {
        child.kill('SIGINT');
        // The source hears of it while the destination stands still.
        while (!said().includes('its machine has heard it')) {
          assert.equal(child.exitCode, null, said());
          await pause(10);
        }
      });
      assert.equal(last.outcome, expected);
      if (expected === 'stayed') assert.equal(last.reasonCode, 'aborted');
      assert.equal(moving.child.exitCode, expected === 'moved' ? 0 : 1, moving.said());
    });
  }

  await t.test('nobody outside has noticed anything', async () => {
    const { lost, duplicated, wrong, exactlyOnce } = await load.end();
    assert.deepEqual({ lost, duplicated, wrong, exactlyOnce }, { lost: 0, duplicated: 0, wrong: 0, exactlyOnce: true });
  });
});
