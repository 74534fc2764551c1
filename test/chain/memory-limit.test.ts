/**
 * A sandbox that uses nearly all the memory that it may, while a clone of its process is there for a snapshot: what it writes
 * then is there twice. It is moved all the same, or goes on; and it may use as much as before.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { runComicran } from '../../src/lab/demo/program.ts';
import { labLayout } from '../../src/lab/layout.ts';
import { type Cgroup, cgroupProcesses } from '../../src/linux/cgroup.ts';
import { memoryLimit } from '../../src/linux/cgroup-memory-limit.ts';
import { assertAnswers } from '../support/daemons.ts';
import { type FaultPoint, Faults } from '../support/faults.ts';
import { find } from '../support/lab.ts';
import { Manager, NotMoved } from '../support/manager.ts';
import { needs } from '../support/needs.ts';
import { startServer } from '../support/server-config.ts';
import { underLoad } from '../support/under-load.ts';

const skip = needs('root');
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
const ID = 'tight';
const MIB = 1 << 20;
const MEMORY_MIB = 64;
/** What it may use beyond what it does: less than it writes while its clone is there. */
const SPARE = 16 * MIB;
const CLONED: FaultPoint = 'source.process.snapshot:after';
const REPLICATED = { mode: 'replicated', fallback: 'none', more: ['--snapshot', 'fork'] };

function cgroupOn(vm: string): Cgroup {
  const layout = labLayout();
  const state =
    layout.sandboxStates[layout.daemons.filter(({ node }) => node !== 'sdn').findIndex(({ node }) => node === vm)]!;
  return (JSON.parse(readFileSync(join(state, 'sandboxes', ID, 'state.json'), 'utf8')) as { cgroup: Cgroup }).cgroup;
}

function usedBytes({ paths }: Cgroup): number {
  const files = paths.flatMap((path) => ['memory.current', 'memory.usage_in_bytes'].map((name) => join(path, name)));
  return Number(readFileSync(files.find((file) => existsSync(file))!, 'latin1'));
}

test('in a lab', { skip }, async (t) => {
  const faults = new Faults();
  let manager!: Manager;
  let limit = 0;

  const startWith = (limits: { readonly memory?: number }): Promise<void> => {
    const options = ['--memory', `${MEMORY_MIB}M`, '--touch', '64'];
    return startServer({ id: ID, options, address: '10.88.0.94', service: 5094, more: { limits } }, 'vm1');
  };
  before(async () => {
    await faults.labUp();
    manager = new Manager();
    await startWith({});
    await assertAnswers('vm1', ID);
    limit = Math.ceil((usedBytes(cgroupOn('vm1')) + SPARE) / 4096) * 4096;
    await runComicran(['smanager', 'terminate', ID]);
    await startWith({ memory: limit });
  });
  after(async () => {
    await manager.close();
    faults.close();
    await runComicran(['lab', 'down']);
  });

  /** Asked all the time, and so it writes. */
  const asked = (use: () => Promise<void>): Promise<void> => underLoad(ID, 500, use);

  await t.test('it is moved, though it uses more than it may while its clone is there', async () => {
    const cgroup = cgroupOn('vm1');
    assert.equal(memoryLimit(cgroup), limit);
    await asked(async () => {
      faults.arm(CLONED, 'stop');
      const moving = manager.migrate(ID, 'vm2', REPLICATED);
      moving.catch(() => undefined);
      await faults.halted(CLONED, 'vm1', async () => {
        assert.ok((memoryLimit(cgroup) ?? 0) > limit);
        while (usedBytes(cgroup) < limit + SPARE) await pause(20);
      });
      const { mode, snapshot } = await moving;
      assert.deepEqual([mode, snapshot], ['replicated', 'fork']);
    });
    assert.equal(memoryLimit(cgroupOn('vm2')), limit);
    await assertAnswers('vm2', ID);
    await manager.migrate(ID, 'vm1', { mode: 'replicated', fallback: 'none' });
  });

  await t.test('its clone is killed: that is said, and the process has noticed nothing', async () => {
    const cgroup = cgroupOn('vm1');
    const pid = (await find(ID))?.pid;
    await asked(async () => {
      faults.arm(CLONED, 'stop');
      const moving = manager.migrate(ID, 'vm2', REPLICATED);
      moving.catch(() => undefined);
      await faults.halted(CLONED, 'vm1', () => {
        const command = (of: number): string => readFileSync(`/proc/${of}/cmdline`, 'latin1');
        const clone = cgroupProcesses(cgroup).find((other) => other !== pid && command(other) === command(pid!));
        assert.ok(clone, 'a clone');
        // The kernel would end it before the process.
        assert.equal(readFileSync(`/proc/${clone}/oom_score_adj`, 'latin1').trim(), '1000');
        process.kill(clone, 'SIGKILL');
      });
      await assert.rejects(moving, (thrown) => {
        assert.ok(thrown instanceof NotMoved);
        assert.equal(thrown.code, 'replication.unsuitable');
        assert.match(thrown.message, /the snapshot of process \d+, a clone of it, has been killed/);
        return true;
      });
    });
    assert.deepEqual([(await find(ID))?.pid, memoryLimit(cgroup)], [pid, limit]);
    await assertAnswers('vm1', ID);
  });

  await t.test('its daemon is killed while the clone is there: the next one puts the limit back', async () => {
    const cgroup = cgroupOn('vm1');
    await asked(async () => {
      const { status } = await faults.killedAt(CLONED, 'vm1', () => manager.migrate(ID, 'vm2', REPLICATED));
      assert.equal(status, 'rejected');
    });
    assert.equal(memoryLimit(cgroup), limit);
    await assertAnswers('vm1', ID);
  });
});
