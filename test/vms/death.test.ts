/** A virtual machine's QEMU is killed in the middle of a replicated migration, behind each of its phases. Needs root, QEMU. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { runComicran } from '../../src/lab/demo/program.ts';
import { find, type Listed } from '../support/lab.ts';
import { needs } from '../support/needs.ts';
import { askedDuring, kill, migrateWith, NEEDED, NOTHING, startSquare, whereIs } from './support.ts';

/** As the source tells them, up to where the right to answer passes. */
const PHASES = ['connect', 'watch', 'capture', 'image', 'pages', 'restore'] as const;
/** The copy is whole and level; TAKE is the source's next word. */
const LEVEL = 'source.traffic.prepareCut:before';
/** The copy is whole, and follows. */
const FOLLOWING = 'destination.restoring.rehearse:before';
/** From the capture on, to where the daemon stands still. */
const UNTIL_THERE_MS = 20_000;
/** By emulation; a peer's death is noticed after half a minute. */
const SETTLED_MS = 180_000;

type TakenOver = { readonly from: string; readonly to: string; readonly gapUs: number; readonly mayRepeat: number };

/** Its daemons stand still where they come to this point of a migration, so that one can be killed just there. */
async function labUp(point: string): Promise<void> {
  process.env['COMICRAN_FAULT'] = `${point}=stop`;
  try {
    await runComicran(['lab', 'up', '--vms']);
  } finally {
    delete process.env['COMICRAN_FAULT'];
  }
  await startSquare('vm1');
}

/** As it is listed when the machine that it was to arrive at has taken away what there was of it. */
async function settled(name: string): Promise<Listed | undefined> {
  const deadline = performance.now() + SETTLED_MS;
  for (;;) {
    const found = await find(name);
    if (found?.state !== 'arriving' || performance.now() > deadline) return found;
    await pause(1000);
  }
}

const killBehind = (name: string) => ({
  phase: 'capture',
  act: async (): Promise<void> => {
    await pause(UNTIL_THERE_MS);
    kill(name);
  },
});

test('the destination dies before the cutover', { skip: needs(...NEEDED) }, async (t) => {
  before(async () => {
    await runComicran(['lab', 'up', '--vms']);
    await startSquare('vm1');
  });
  after(() => runComicran(['lab', 'down']));

  for (const phase of PHASES)
    await t.test(`in or behind '${phase}': no request is lost, and all is where it was`, async () => {
      const figures = await askedDuring('square', async () => {
        const { moved } = await migrateWith('square', 'replicated', { phase, act: () => kill('vm2') });
        assert.equal(moved, undefined);
      });
      assert.deepEqual(figures, NOTHING);
      assert.equal(await whereIs('square'), 'vm1');
      await runComicran(['lab', 'up']);
    });
});

test('the destination dies while its copy follows', { skip: needs(...NEEDED) }, async (t) => {
  before(() => labUp(FOLLOWING));
  after(() => runComicran(['lab', 'down']));

  await t.test('no request is lost, and all is where it was', async () => {
    const figures = await askedDuring('square', async () => {
      const { moved } = await migrateWith('square', 'replicated', killBehind('vm2'));
      assert.equal(moved, undefined);
    });
    assert.deepEqual(figures, NOTHING);
    assert.equal(await whereIs('square'), 'vm1');
  });
});

test('the source dies', { skip: needs(...NEEDED) }, async (t) => {
  before(() => labUp(LEVEL));
  after(() => runComicran(['lab', 'down']));

  await t.test('with a whole copy: that takes over, the gap is told, and what comes back has nothing', async () => {
    let taken: TakenOver | undefined;
    const { duplicated, wrong } = await askedDuring('square', async () => {
      const { moved } = await migrateWith('square', 'replicated', killBehind('vm1'));
      assert.equal(moved, undefined);
      const words = ['smanager', 'takeover', 'square', '--from-dead', 'vm1', '--machine-is-off', '--json'];
      taken = JSON.parse(await runComicran(words)) as TakenOver;
    });
    assert.ok(taken !== undefined && taken.gapUs > 0);
    assert.deepEqual([taken.from, taken.to, wrong], ['vm1', 'vm2', 0]);
    assert.ok(duplicated <= taken.mayRepeat, `${duplicated} came twice, ${taken.mayRepeat} may have`);
    t.diagnostic(`the gap: ${Math.round(taken.gapUs / 1000)} ms`);
    await runComicran(['lab', 'up']);
    assert.equal(await whereIs('square'), 'vm2');
    assert.deepEqual(await askedDuring('square', async () => undefined), NOTHING);
  });

  await t.test('before there is a copy: the server has died with it, and can be started anew', async () => {
    await migrateWith('square', 'replicated', { phase: 'capture', act: () => kill('vm2') });
    await runComicran(['lab', 'up']);
    const found = await settled('square');
    assert.ok(found === undefined || found.state !== 'running', found?.state);
    if (found !== undefined) await runComicran(['smanager', 'terminate', 'square']);
    await startSquare('vm1');
    assert.deepEqual(await askedDuring('square', async () => undefined), NOTHING);
  });
});
