/**
 * The source of a replicated migration falls silent when the copy is whole, before the cutover: its daemon alone, or its machine.
 * The copy is silent until an operator has it take over; from then on no client hears the former machine.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { runComicran } from '../../src/lab/demo/program.ts';
import { assertAnswers, killDaemon } from '../support/daemons.ts';
import { DeadMachine } from '../support/dead-machine.ts';
import { Faults } from '../support/faults.ts';
import { find, migrate } from '../support/lab.ts';
import { needs } from '../support/needs.ts';
import { startServer } from '../support/server-config.ts';
import { reportUnderLoad } from '../support/under-load.ts';

const skip = needs('root');

/** The copy is whole and level; TAKE is the source's next word. */
const POINT = 'source.traffic.prepareCut:before';
/** For the requests that come behind a takeover. */
const MARGIN_MS = 400;

type TakenOver = {
  readonly from: string;
  readonly to: string;
  readonly gapUs: number;
  readonly outputsCompared: number;
  readonly mayRepeat: number;
};

const takeOver = async (...more: string[]): Promise<TakenOver> =>
  JSON.parse(
    await runComicran(['smanager', 'takeover', 'square', '--from-dead', 'vm1', '--json', ...more]),
  ) as TakenOver;

test('in a lab', { skip }, async (t) => {
  const faults = new Faults();
  const vm1 = new DeadMachine('vm1', 'square');
  before(async () => {
    await faults.labUp();
    // Without published ports: what comes by a machine's own address the sdn could not shut out, and that is refused.
    await startServer({ id: 'square', options: [], address: '10.88.0.5', service: 5006 }, 'vm1');
  });
  after(async () => {
    vm1.linkUp();
    await runComicran(['lab', 'down']);
    faults.close();
  });

  /** A migration to vm2 whose source stands still with a whole copy there, while something is done to it. */
  const atTheCopy = async (meanwhile: () => Promise<unknown>): Promise<void> => {
    faults.arm(POINT, 'stop');
    const moving = migrate('square', 'vm2', 'replicated', 'none').catch(() => undefined);
    await faults.halted(POINT, 'vm1', meanwhile);
    await moving;
  };

  await t.test('a machine that answers is not dead, and neither is there a copy where nothing is moved', async () => {
    await assert.rejects(takeOver(), /the daemon of vm1 answers: vm1 is not dead[\s\S]*next: /);
    await assert.rejects(
      runComicran(['smanager', 'takeover', 'square', '--from-dead', 'vm2']),
      /'square' is on vm1, not on vm2/,
    );
  });

  await t.test('its daemon is killed: its process goes on, and its next daemon ends the copy', async () => {
    const { lost, duplicated, wrong } = await reportUnderLoad('square', 200, () =>
      faults.killedAt(POINT, 'vm1', () => migrate('square', 'vm2', 'replicated', 'none')),
    );
    assert.deepEqual({ lost, duplicated, wrong }, { lost: 0, duplicated: 0, wrong: 0 });
    await assertAnswers('vm1');
  });

  await t.test(
    'its daemon is killed, and an operator says that it is dead: its process is not heard, and ends',
    async () => {
      let taken: TakenOver | undefined;
      const { duplicated, wrong } = await reportUnderLoad(
        'square',
        200,
        () =>
          atTheCopy(async () => {
            killDaemon('vm1');
            taken = await takeOver();
          }),
        { marginMs: MARGIN_MS },
      );
      assert.ok(taken !== undefined && taken.outputsCompared > 0);
      assert.deepEqual([taken.from, taken.to, wrong], ['vm1', 'vm2', 0]);
      assert.ok(duplicated <= taken.mayRepeat, `${duplicated} came twice, ${taken.mayRepeat} may have`);
      await assertAnswers('vm2');
      assert.equal(vm1.processes().length > 0, true, 'the process at vm1 is there until its daemon is');
      await runComicran(['lab', 'up']);
      assert.deepEqual(vm1.processes(), []);
      await assertAnswers('vm2');
      await migrate('square', 'vm1', 'replicated', 'none');
      await assertAnswers('vm1');
    },
  );

  await t.test('its machine dies: its copy takes over, and when it comes back it has nothing', async () => {
    let taken: TakenOver | undefined;
    const { duplicated, wrong } = await reportUnderLoad(
      'square',
      200,
      () =>
        atTheCopy(async () => {
          await vm1.die();
          taken = await takeOver();
        }),
      { marginMs: MARGIN_MS },
    );
    assert.ok(taken !== undefined && taken.gapUs > 0);
    assert.equal(wrong, 0);
    assert.ok(duplicated <= taken.mayRepeat, `${duplicated} came twice, ${taken.mayRepeat} may have`);
    await assertAnswers('vm2');
    vm1.linkUp();
    await runComicran(['lab', 'up']);
    await assertAnswers('vm2');
    assert.equal((await find('square'))?.vm, 'vm2');
  });
});
