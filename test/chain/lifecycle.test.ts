/** Restarts, freezing, health, logs and a look inside, across machines and daemons that are killed. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseJsonOutput, runComicran } from '../../src/lab/demo/program.ts';
import type { SandboxRow } from '../../src/smanager/sandbox-list.ts';
import { assertAnswers, killDaemon, restartDaemon } from '../support/daemons.ts';
import { find, migrate } from '../support/lab.ts';
import { needs } from '../support/needs.ts';
import { startServer } from '../support/server-config.ts';

const skip = needs('root');
const WAIT_MS = 30_000;

const row = async (name: string): Promise<SandboxRow> => (await find(name)) as SandboxRow;
const smanager = (...words: string[]): Promise<string> => runComicran(['smanager', ...words]);
const plan = (name: string, to: string): Promise<string> => smanager('migrate', name, to, '--dry-run');

async function guests(name: string): Promise<number> {
  const { runtime } = parseJsonOutput(await smanager('inspect', name)) as { runtime: { guests: number } };
  return runtime.guests;
}

async function until(name: string, what: string, fits: (found: SandboxRow) => boolean): Promise<SandboxRow> {
  const endMs = Date.now() + WAIT_MS;
  for (;;) {
    const found = await row(name);
    if (fits(found)) return found;
    assert.ok(Date.now() < endMs, `${name} is not ${what}: ${JSON.stringify(found)}`);
    await sleep(50);
  }
}

async function killProcess(name: string): Promise<void> {
  const { pid } = await row(name);
  assert.ok(pid !== null);
  process.kill(pid, 'SIGKILL');
}

/** @param pid of the sandbox's root process, whose parent it is. */
function killJailorOf(pid: number | null): void {
  assert.ok(pid !== null);
  const [, parent] = /^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))!;
  process.kill(Number(parent), 'SIGKILL');
}

/** Ends the programs on this machine that have this name and these arguments. */
function endProgram(...words: string[]): void {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
    try {
      const [program = '', ...rest] = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').slice(0, -1);
      if ([basename(program), ...rest].join(' ') === words.join(' ')) process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
}

const server = (id: string, more: object, host = 81) => ({
  id,
  options: [],
  address: `10.88.0.${host}`,
  service: 5000 + host,
  more,
});

test('in a lab', { skip }, async (t) => {
  before(() => runComicran(['lab', 'up']));
  after(() => runComicran(['lab', 'down']));

  await t.test('policy, count and health go with a sandbox; what ended because it moved is not restarted', async () => {
    const health = { udp: { port: 5006, send: '4' }, intervalMs: 100, timeoutMs: 2_000, retries: 3 };
    await startServer(server('steady', { restart: { policy: 'always', backoffMs: 50 }, health }), 'vm1');
    await until('steady', 'healthy', (found) => found.health === 'healthy');
    await killProcess('steady');
    const again = await until('steady', 'restarted', (found) => found.state === 'running' && found.restarts === 1);
    await until('steady', 'healthy again', (found) => found.health === 'healthy');
    await migrate('steady', 'vm2');
    const there = await until('steady', 'healthy there', (found) => found.health === 'healthy');
    const { vm, restarts, startedUnixMs, pidInside } = there;
    assert.deepEqual([vm, restarts, startedUnixMs, pidInside], ['vm2', 1, again.startedUnixMs, again.pidInside]);
    await killProcess('steady');
    await until('steady', 'restarted there', (found) => found.vm === 'vm2' && found.restarts === 2);
    await until('steady', 'healthy there again', (found) => found.health === 'healthy');
    await migrate('steady', 'vm1', 'replicated');
    assert.deepEqual([(await row('steady')).vm, (await row('steady')).restarts], ['vm1', 2]);
  });

  await t.test('a process that ends while its daemon is dead is restarted all the same', async () => {
    const { pid } = await row('steady');
    killDaemon('vm1');
    process.kill(pid!, 'SIGKILL');
    await restartDaemon('vm1');
    const found = await until('steady', 'restarted', ({ state, restarts }) => state === 'running' && restarts === 3);
    assert.notEqual(found.pid, pid);
    await migrate('steady', 'vm2');
  });

  await t.test('a frozen sandbox is not moved, also after its daemon was killed; thawed it answers', async () => {
    await smanager('freeze', 'steady');
    assert.equal((await row('steady')).state, 'frozen');
    await assert.rejects(migrate('steady', 'vm1'), /is frozen[\s\S]*/);
    await assert.rejects(plan('steady', 'vm1'), /is frozen[\s\S]*next: Let it run first/);
    await restartDaemon('vm2');
    assert.equal((await row('steady')).state, 'frozen');
    await smanager('thaw', 'steady');
    await assertAnswers('vm2', 'steady');
    await migrate('steady', 'vm1');
  });

  await t.test('a look inside, wherever it is; while it lasts the sandbox stays', async () => {
    const look = ['exec', 'steady', '--with-host-tools', '--'];
    const out = await smanager(...look, 'sh', '-c', 'ls /sandbox/srv; cat /proc/2/comm || cat /proc/*/comm');
    assert.match(out, /package\.json/);
    await assert.rejects(smanager(...look, 'sh', '-c', 'echo why >&2; exit 9'), /failed \(9\): why/);
    const long = ['sleep', `${600 + process.pid / 1e7}`];
    const staying = assert.rejects(smanager(...look, ...long));
    while ((await guests('steady')) === 0) await sleep(50);
    await assert.rejects(migrate('steady', 'vm2'), /a program in it that an operator has started/);
    await assert.rejects(plan('steady', 'vm2'), /a program in it that an operator has started/);
    endProgram(...long);
    await staying;
    await migrate('steady', 'vm2');
  });

  await t.test('stopped it says how, also to the next daemon, until it is started again', async () => {
    await smanager('stop', 'steady');
    const { state, exitSignal, exitReason, restarts, ended } = await row('steady');
    assert.deepEqual([state, exitReason, restarts], ['stopped', 'terminated', 3]);
    assert.ok(exitSignal === 'SIGTERM' || ended === 'exit 0', String(ended));
    await restartDaemon('vm2');
    assert.equal((await row('steady')).exitReason, 'terminated');
    assert.match(await smanager('logs', 'steady'), /listening/);
    await startServer(server('steady', {}), 'vm2');
    assert.deepEqual([(await row('steady')).state, (await row('steady')).restarts], ['running', 0]);
    await smanager('terminate', 'steady');
  });

  await t.test('one that waits for its restart is not moved, and one that is given up says so', async () => {
    const patient = { restart: { policy: 'on-failure', backoffMs: 3_600_000, longestBackoffMs: 3_600_000 } };
    await startServer(server('patient', patient, 82), 'vm1');
    await killProcess('patient');
    const { ended } = await until('patient', 'restarting', ({ state }) => state === 'restarting');
    assert.equal(ended, 'SIGKILL');
    await assert.rejects(migrate('patient', 'vm2'), /started again in \d+ s \(restart 1\)/);
    await assert.rejects(plan('patient', 'vm2'), /started again in \d+ s \(restart 1\)/);
    await restartDaemon('vm1');
    assert.equal((await row('patient')).state, 'restarting');
    await smanager('terminate', 'patient');
    await startServer(server('hopeless', { restart: { policy: 'on-failure', max: 1, backoffMs: 20 } }, 83), 'vm1');
    await killProcess('hopeless');
    await until('hopeless', 'restarted', ({ state, restarts }) => state === 'running' && restarts === 1);
    await killProcess('hopeless');
    await until('hopeless', 'given up', ({ state, gaveUp }) => state === 'stopped' && gaveUp);
    assert.match(await smanager('ps'), /stopped \(SIGKILL, given up after 1 restarts\)/);
    await smanager('terminate', 'hopeless');
  });

  await t.test('one whose jailor was killed is started again by its daemon, or by the next one', async () => {
    await startServer(server('bereft', { restart: { policy: 'on-failure', backoffMs: 50 } }, 84), 'vm1');
    killJailorOf((await row('bereft')).pid);
    await until('bereft', 'there again', ({ state, restarts }) => state === 'running' && restarts === 1);
    await assertAnswers('vm1', 'bereft');
    const { pid } = await row('bereft');
    killDaemon('vm1');
    killJailorOf(pid);
    await restartDaemon('vm1');
    await until('bereft', 'there once more', ({ state, restarts }) => state === 'running' && restarts === 2);
    await assertAnswers('vm1', 'bereft');
    await smanager('terminate', 'bereft');
  });
});
