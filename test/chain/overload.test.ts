/** Too much input, too slow a copy, too little memory: a replicated migration is given up or begun anew, and says why. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startDaemon } from '../../src/lab/daemons.ts';
import { runComicran } from '../../src/lab/demo/program.ts';
import { labLayout } from '../../src/lab/layout.ts';
import { forceReceiveLimit, receiveMemory } from '../../src/linux/socket-memory.ts';
import { closeSockets, openUdpSockets } from '../../src/sdaemon/dataplane/process-sockets.ts';
import { killDaemon } from '../support/daemons.ts';
import { type FaultPoint, Faults } from '../support/faults.ts';
import { knownMigrations } from '../support/known-migrations.ts';
import { find, start } from '../support/lab.ts';
import { Manager, NotMoved } from '../support/manager.ts';
import { needs } from '../support/needs.ts';
import { reportUnderLoad } from '../support/under-load.ts';

const skip = needs('root', 'unshare');
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
const RATE = 1000;
/** Of a receive queue: room for three small datagrams. */
const SMALL_BYTES = 2304;

async function pidOfServer(): Promise<number> {
  const pid = (await find('square'))?.pid;
  assert.ok(pid);
  return pid;
}

type SkeletonState = { readonly hatchery: { readonly pid: number } };

/** The copy of a process, in the sandbox that a machine has prepared for it. */
function copyOf(pid: number, stateDirectory: string): number {
  const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  const state = readFileSync(join(stateDirectory, 'sandboxes/square/state.json'), 'utf8');
  const sandbox = readlinkSync(`/proc/${(JSON.parse(state) as SkeletonState).hatchery.pid}/ns/net`);
  const found = readdirSync('/proc').find((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return (
        readlinkSync(`/proc/${name}/ns/net`) === sandbox && readFileSync(`/proc/${name}/cmdline`, 'latin1') === command
      );
    } catch {
      return false; // it has ended
    }
  });
  assert.ok(found, 'the copy');
  return Number(found);
}

/** What its sockets have dropped; with `limitBytes`, their queues have this much room from now on. */
function drops(pid: number, limitBytes?: number): number {
  const sockets = openUdpSockets(pid);
  try {
    if (limitBytes !== undefined) for (const { descriptor } of sockets) forceReceiveLimit(descriptor, limitBytes);
    return sockets.reduce((sum, { descriptor }) => sum + receiveMemory(descriptor).drops, 0);
  } finally {
    closeSockets(sockets);
  }
}

test('in a lab', { skip }, async (t) => {
  const faults = new Faults();
  const layout = labLayout();
  let manager!: Manager;
  before(async () => {
    await faults.labUp();
    await start('square.yaml', 'vm1');
    manager = new Manager();
  });
  after(async () => {
    faults.close();
    await manager.close();
    await runComicran(['lab', 'down']);
  });

  const underLoad = (use: () => Promise<void>) => reportUnderLoad('square', RATE, use);

  await t.test('a full receive queue at the source: counted, named, and the copy is begun anew', async () => {
    const pid = await pidOfServer();
    const point: FaultPoint = 'source.process.snapshot:after';
    let dropped = 0;
    const { lost, duplicated, wrong } = await underLoad(async () => {
      faults.arm(point, 'stop');
      const moving = manager.migrate('square', 'vm2', { mode: 'replicated', fallback: 'none' });
      moving.catch(() => undefined);
      await faults.halted(point, 'vm1', async () => {
        const before_ = drops(pid, SMALL_BYTES);
        // The queue is too small for what comes while the process does not read.
        process.kill(pid, 'SIGSTOP');
        for (let waited = 0; drops(pid) === before_ && waited < 1000; waited++) await pause(5);
        process.kill(pid, 'SIGCONT');
        dropped = drops(pid, 32 << 20) - before_;
      });
      assert.equal((await moving).mode, 'replicated');
    });
    assert.ok(dropped > 0);
    assert.match(readFileSync(join(layout.logs, 'vm1.log'), 'utf8'), /the copy is begun anew: .*dropped \d+ datagrams/);
    assert.deepEqual({ duplicated, wrong, lost }, { duplicated: 0, wrong: 0, lost: dropped });
    await manager.migrate('square', 'vm1');
  });

  await t.test(
    'a copy that does not keep up: the lag is shown, the deadline ends it, the source has answered',
    async () => {
      const pid = await pidOfServer();
      const point: FaultPoint = 'destination.restoring.rehearse:after';
      const { lost, duplicated, wrong, exactlyOnce } = await underLoad(async () => {
        faults.arm(point, 'stop');
        let said = '';
        const words = ['migrate', 'square', 'vm2', '--mode', 'replicated', '--fallback', 'none', '--deadline', '8'];
        const moving = runComicran(['smanager', ...words], {
          onProgress: (text) => {
            said += text;
          },
        });
        const refused = assert.rejects(moving, /did not catch up in time/);
        // It has no time at all.
        await faults.halted(point, 'vm2', () => process.kill(copyOf(pid, layout.sandboxStates[1]!), 'SIGSTOP'));
        await refused;
        assert.match(said, /[1-9]\d* outputs? behind/);
        const last = (await knownMigrations('square')).at(-1);
        assert.deepEqual([last?.outcome, last?.reasonCode], ['stayed', 'replication.lagging']);
        assert.equal((await find('square'))?.vm, 'vm1');
        assert.equal(await pidOfServer(), pid);
      });
      assert.deepEqual(
        { lost, duplicated, wrong, exactlyOnce },
        { lost: 0, duplicated: 0, wrong: 0, exactlyOnce: true },
      );
    },
  );

  await t.test('a destination without enough memory refuses in the preparation', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'comicran-meminfo-'));
    try {
      // What Node reads, with little in it.
      const file = join(directory, 'meminfo');
      const little = (line: string): string =>
        /^Mem(Free|Available):/.test(line) ? line.replace(/\d+/, '4096') : line;
      writeFileSync(file, readFileSync('/proc/meminfo', 'utf8').split('\n').map(little).join('\n'));
      const daemon = layout.daemons.find(({ node }) => node === 'vm2')!;
      const script = `mount --bind ${file} /proc/meminfo && exec "$@"`;
      killDaemon('vm2');
      const said = readFileSync(daemon.log, 'utf8').length;
      const command = ['/usr/bin/unshare', '--mount', '/bin/sh', '-c', script, 'sh', ...daemon.command];
      const identity = await startDaemon(layout, { ...daemon, command });
      try {
        // The one that was killed may not have closed its socket yet.
        while (!readFileSync(daemon.log, 'utf8').slice(said).includes('listens on')) await pause(20);
        for (const mode of ['replicated', 'stopcopy']) {
          const refused = manager.migrate('square', 'vm2', { mode });
          await assert.rejects(
            refused,
            (thrown) => thrown instanceof NotMoved && /of memory, the destination has/.test(thrown.message),
          );
        }
      } finally {
        process.kill(identity.pid, 'SIGKILL');
      }
      await runComicran(['lab', 'up']);
      assert.equal((await find('square'))?.vm, 'vm1');
      assert.equal((await manager.migrate('square', 'vm2')).to, 'vm2');
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
