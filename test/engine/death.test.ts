/** Needs root. An engine that is killed leaves nothing half done. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { SNAPSHOT_FAULTS } from '../../src/checkpoint/faults.ts';
import { continueQuietly } from '../../src/linux/continue.ts';
import { listChildren, listThreads, readStatus } from '../../src/linux/procfs.ts';
import { needs } from '../support/needs.ts';
import { Cage, PYTHON, program } from './support/cage.ts';
import { killEngineAt } from './support/doomed-engine.ts';
import { Resident, untilStopped } from './support/engine.ts';

const skip = needs('root', 'unshare', 'nsenter', 'python3', 'ip');
const PORT = 7105;
const HAS_AVX2 = /\bavx2\b/.test(readFileSync('/proc/cpuinfo', 'latin1'));

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function untilGone(pid: number): Promise<void> {
  const alive = (): boolean => existsSync(`/proc/${pid}`) && readStatus(pid).text('State')[0] !== 'Z';
  for (let tries = 0; tries < 500 && alive(); tries++) await pause(2);
  assert.ok(!alive(), `process ${pid} lives on`);
}

/** A process with a thread in an epoll_wait without an end, one that counts, and one that watches its vector registers. */
async function startWatchful(): Promise<Resident> {
  const resident = await Resident.start([PYTHON, program('repl.py'), String(PORT)]);
  await resident.cage.askUntilAnswered(PORT, '1');
  const prepare = [
    `import select, sys; sys.path.insert(0, ${JSON.stringify(program('.'))})`,
    'poller = select.epoll()',
    'bell = os.eventfd(0)',
    'poller.register(bell, select.EPOLLIN)',
    'ticks = [0]',
    'def tick():\n while True:\n  ticks[0] += 1\n  time.sleep(0.001)',
    'event = (ctypes.c_char * 12)()',
    'background("wait", lambda: c("epoll_wait", poller.fileno(), event, 1, -1))',
    'background("tick", tick)',
    HAS_AVX2 ? 'import spin; spinner = spin.Spinner()' : 'spinner = None',
  ].join('\n');
  assert.equal(resident.cage.ask(PORT, prepare), 'None');
  return resident;
}

async function assertWell({ cage, pid }: Resident): Promise<void> {
  const before = cage.ask(PORT, '(ticks[0], spinner and spinner.rounds())');
  await pause(30);
  assert.notEqual(cage.ask(PORT, '(ticks[0], spinner and spinner.rounds())'), before);
  if (HAS_AVX2) assert.equal(cage.ask(PORT, 'spinner.differences()'), '0');
  for (const tid of listThreads(pid)) assert.match(readStatus(pid, tid).text('State'), /^[SRD]/);
}

/** The thread still waits, and hears of what it waits for. */
async function assertWaits({ cage }: Resident): Promise<void> {
  assert.equal(cage.ask(PORT, '"wait" in results'), 'False');
  assert.equal(cage.ask(PORT, 'os.eventfd_write(bell, 1)'), 'None');
  for (let tries = 0; tries < 200 && cage.ask(PORT, '"wait" in results') === 'False'; tries++) await pause(10);
  assert.equal(cage.ask(PORT, 'results["wait"][0]'), '1');
}

const SETTLED = SNAPSHOT_FAULTS.slice(SNAPSHOT_FAULTS.indexOf('freeze.complete'));

describe('an engine that is killed', { skip }, () => {
  test('while the process is frozen: it runs on', async () => {
    await using resident = await startWatchful();
    assert.equal(await killEngineAt('freeze', resident.pid), 'frozen');
    await assertWell(resident);
  });

  test('when the stop has been made to last: the process stays stopped, and runs on when told to', async () => {
    await using resident = await startWatchful();
    assert.equal(await killEngineAt('hold', resident.pid), 'held');
    await untilStopped(resident.pid);
    assert.equal(resident.cage.ask(PORT, '1', 100), null);
    continueQuietly(resident.pid);
    await assertWell(resident);
    await assertWaits(resident);
  });

  test('in the middle of a call that it had injected, into any of the threads', async () => {
    await using resident = await startWatchful();
    for (const [index, tid] of listThreads(resident.pid).entries()) {
      const mask = readStatus(resident.pid, tid).text('SigBlk');
      assert.equal(await killEngineAt('call', resident.pid, index), 'calling');
      // What it was in goes on to its end first.
      await pause(1000);
      await assertWell(resident);
      assert.equal(readStatus(resident.pid, tid).text('SigBlk'), mask);
    }
    await assertWaits(resident);
  });

  for (const point of SNAPSHOT_FAULTS.filter((name) => !name.startsWith('inspect.')))
    test(`while it takes a snapshot, at ${point}: the process runs on, and there is no clone`, async () => {
      await using resident = await startWatchful();
      const { cage, pid } = resident;
      assert.equal(await killEngineAt('snapshot', pid, point), point);
      await assertWell(resident);
      for (let tries = 0; tries < 100 && listChildren(cage.init).length > 1; tries++) await pause(5);
      assert.deepEqual(listChildren(cage.init), [pid]);
      assert.deepEqual(listChildren(pid), []);
      // Before that nobody has seen to the system calls that were cut short.
      if (SETTLED.includes(point)) await assertWaits(resident);
    });

  test('while it builds a process: nothing of that is left', async () => {
    await using resident = await startWatchful();
    await using next = await Cage.make();
    const built = Number(await killEngineAt('build', resident.pid, await next.hatchery()));
    await untilGone(built);
  });

  test('when the process is complete: it is there, stopped, and runs when told to', async () => {
    await using resident = await startWatchful();
    await using next = await Cage.make();
    const built = Number(await killEngineAt('finish', resident.pid, await next.hatchery()));
    await untilStopped(built);
    assert.equal(next.ask(PORT, '1', 100), null);
    continueQuietly(built);
    assert.equal(next.ask(PORT, 'count'), '4');
    if (HAS_AVX2) assert.equal(next.ask(PORT, 'spinner.differences()'), '0');
  });
});

test('vector and x87 registers over five moves', { skip: skip || (HAS_AVX2 ? false : 'needs AVX2') }, async () => {
  await using resident = await startWatchful();
  for (let round = 0; round < 5; round++) {
    await resident.move();
    const rounds = Number(resident.cage.ask(PORT, 'spinner.rounds()'));
    assert.equal(resident.cage.ask(PORT, 'spinner.differences()'), '0');
    assert.ok(Number(resident.cage.ask(PORT, 'spinner.rounds()')) > rounds);
  }
});
