/** Replicated migrations of servers with much memory, which they keep changing: it is copied while they run. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { parseJsonOutput, runComicran } from '../../src/lab/demo/program.ts';
import { labLayout } from '../../src/lab/layout.ts';
import { assertAnswers } from '../support/daemons.ts';
import { Faults } from '../support/faults.ts';
import type { KnownMigration } from '../support/known-migrations.ts';
import { find } from '../support/lab.ts';
import { Manager } from '../support/manager.ts';
import { needs } from '../support/needs.ts';
import { startServer } from '../support/server-config.ts';
import { underLoad } from '../support/under-load.ts';

const skip = needs('root');
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
const ID = 'large';
const RATE = 500;
/** Pages are written with each request. */
const OPTIONS = ['--memory', '128M', '--touch', '16'];

/** What smanager is to know of the lab: this machine, and not the other. */
function onlyMachine(vm: string): string {
  const { managerFile, directory } = labLayout();
  const all = JSON.parse(readFileSync(managerFile, 'utf8')) as { readonly vms: Readonly<Record<string, object>> };
  const file = join(directory, `only-${vm}.json`);
  writeFileSync(file, JSON.stringify({ ...all, vms: { [vm]: all.vms[vm] } }));
  return file;
}

test('in a lab', { skip }, async (t) => {
  const faults = new Faults();
  let manager!: Manager;
  before(async () => {
    await faults.labUp();
    manager = new Manager();
    await startServer({ id: ID, options: OPTIONS, address: '10.88.0.92', service: 5092 }, 'vm1');
  });
  after(async () => {
    await manager.close();
    faults.close();
    await runComicran(['lab', 'down']);
  });

  const whereTo = async (): Promise<'vm1' | 'vm2'> => ((await find(ID))?.vm === 'vm1' ? 'vm2' : 'vm1');
  const move = async (...more: string[]) =>
    manager.migrate(ID, await whereTo(), { mode: 'replicated', fallback: 'none', more });

  await t.test('there and back under load, by tracking: nothing lost, twice or wrong', () =>
    underLoad(ID, RATE, async () => {
      for (let moves = 0; moves < 4; moves++) {
        const moved = await move();
        assert.equal(moved.mode, 'replicated');
        assert.equal(moved.snapshot, 'tracked');
        assert.match(moved.snapshotWhy ?? '', /^it has .* in small pages/);
        assert.ok((moved.rounds ?? 0) >= 2, `${moved.rounds} rounds`);
        assert.ok(moved.phases.some(({ phase }) => phase === 'copy'));
        assert.ok((moved.inputsReplayed ?? 0) > 0 && (moved.outputsCompared ?? 0) > 0);
      }
      // Long enough for every page to be looked at: one that is not what it was makes an answer wrong.
      const pages = (128 << 20) / 4096;
      await pause((1000 * pages) / (16 * RATE));
    }),
  );

  await t.test('by a fork when that is asked for, and by tracking a small one', async () => {
    await underLoad(ID, RATE, async () => {
      const forked = await move('--snapshot', 'fork');
      assert.deepEqual([forked.snapshot, forked.snapshotWhy, forked.rounds], ['fork', 'it was asked for', null]);
      assert.equal((await move()).snapshot, 'tracked');
    });
    await startServer({ id: 'small', options: [], address: '10.88.0.93', service: 5093 }, 'vm1');
    const small = { mode: 'replicated', fallback: 'none' };
    const forked = await manager.migrate('small', 'vm2', small);
    assert.equal(forked.snapshot, 'fork');
    assert.match(forked.snapshotWhy ?? '', /less than/);
    const tracked = await manager.migrate('small', 'vm1', { ...small, more: ['--snapshot', 'tracked'] });
    assert.deepEqual([tracked.snapshot, tracked.snapshotWhy], ['tracked', 'it was asked for']);
    await runComicran(['smanager', 'terminate', 'small']);
  });

  await t.test('the dry run says the way, and a shorter freeze for it than for a fork', async () => {
    const plan = async (...more: string[]) => {
      const words = [
        'smanager',
        'migrate',
        ID,
        await whereTo(),
        '--dry-run',
        '--json',
        '--mode',
        'replicated',
        ...more,
      ];
      const { modes } = parseJsonOutput(await runComicran(words)) as {
        modes: { way: string; whyWay: string; freezeUs: number }[];
      };
      return modes[0]!;
    };
    const tracked = await plan();
    const forked = await plan('--snapshot', 'fork');
    assert.deepEqual([tracked.way, forked.way], ['tracked', 'fork']);
    assert.match(tracked.whyWay, /in small pages/);
    assert.ok(tracked.freezeUs < forked.freezeUs, `${tracked.freezeUs} and ${forked.freezeUs} µs`);
  });

  await t.test('an abort while it is being copied: it answers on, and can be moved afterwards', () =>
    underLoad(ID, RATE, async () => {
      const [at, to] = [(await find(ID))?.vm, await whereTo()];
      // A destination that does not read on keeps the source in its rounds.
      faults.arm('destination.channel.send:after', 'stop');
      const moving = move();
      moving.catch(() => undefined);
      await faults.halted('destination.channel.send:after', to, async () => {
        // The other machine stands still, and would be waited for.
        const config = onlyMachine(at!);
        const phase = async (): Promise<string | null | undefined> => {
          const known = parseJsonOutput(
            await runComicran(['smanager', '--config', config, 'migrations', ID, '--json']),
          ) as KnownMigration[];
          return known.at(-1)?.phase;
        };
        for (const deadline = performance.now() + 60_000; (await phase()) !== 'copy'; await pause(10))
          assert.ok(performance.now() < deadline, 'it is not being copied');
        await runComicran(['smanager', '--config', config, 'abort', ID]);
      });
      await assert.rejects(moving, /\(copy\): .* aborted on request; it runs on at vm\d/);
      assert.equal((await find(ID))?.vm, at);
      assert.equal((await move()).snapshot, 'tracked');
    }),
  );

  for (const point of [
    'source.copying.rounds:after',
    'source.process.snapshot:after',
    'destination.engine.begin:after',
  ] as const)
    await t.test(`${point}=kill: it answers on where it was, and can be moved afterwards`, async () => {
      if ((await find(ID))?.vm === 'vm2') await move();
      const node = point.startsWith('source') ? 'vm1' : 'vm2';
      await underLoad(ID, RATE, async () => {
        assert.equal((await faults.killedAt(point, node, () => move())).status, 'rejected');
      });
      await assertAnswers('vm1', ID);
      assert.equal((await move()).snapshot, 'tracked');
    });
});
