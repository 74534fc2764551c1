/** Needs root. A stop that outlives this program, and is taken back without being noticed. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ComicranError } from '../../src/base/errors.ts';
import { resumeStopped } from '../../src/checkpoint/stop.ts';
import { sendSignal } from '../../src/linux/pidfd.ts';
import { askThreads, listThreads, readStatus } from '../../src/linux/procfs.ts';
import { SIGNAL } from '../../src/linux/signals.ts';
import { needs } from '../support/needs.ts';
import { PYTHON, program } from './support/cage.ts';
import { withCgroup } from './support/cgroup.ts';
import { killEngineAt } from './support/doomed-engine.ts';
import { open, Resident, untilStopped } from './support/engine.ts';

const skip = needs('root', 'unshare', 'nsenter', 'python3', 'ip');
const PORT = 7111;

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
const states = (pid: number): string[] => listThreads(pid).map((tid) => readStatus(pid, tid).text('State')[0]!);

/** Three threads that count, one in a wait that returns EINTR if anybody notices, and a handler that notes SIGCONT. */
async function start(...more: readonly string[]): Promise<Resident> {
  const resident = await Resident.start([PYTHON, program('repl.py'), String(PORT)]);
  await resident.cage.askUntilAnswered(PORT, '1');
  const prepare = [
    'import select',
    'poller = select.epoll()',
    'ticks = [0, 0, 0]',
    'def tick(index):\n while True:\n  ticks[index] += 1\n  time.sleep(0.001)',
    'for i in range(3): background(str(i), lambda i=i: tick(i))',
    'event = (ctypes.c_char * 12)()',
    'background("wait", lambda: c("epoll_wait", poller.fileno(), event, 1, 1500))',
    'seen = []',
    'signal.signal(signal.SIGCONT, lambda *_: seen.append(1))',
    ...more,
  ];
  assert.equal(resident.cage.ask(PORT, prepare.join('\n')), 'None');
  return resident;
}

async function assertUnnoticed({ cage, pid }: Resident): Promise<void> {
  const ticks = cage.ask(PORT, 'ticks');
  await pause(20);
  assert.notEqual(cage.ask(PORT, 'ticks'), ticks);
  assert.equal(cage.ask(PORT, '(len(seen), signal.sigpending())'), '(0, set())');
  for (let tries = 0; tries < 100 && cage.ask(PORT, '"wait" in results') === 'False'; tries++) await pause(50);
  assert.equal(cage.ask(PORT, 'results["wait"][0]'), '0');
  assert.deepEqual([...new Set(askThreads(pid, (tid) => readStatus(pid, tid).number('TracerPid')))], [0]);
}

describe('a process that is stopped by signal', { skip }, () => {
  test('does not run when the call has returned, and has noticed nothing afterwards, 30 times', async () => {
    await using resident = await start();
    using source = open(resident.pid);
    for (let round = 0; round < 30; round++) {
      source.prepareStop();
      const stopped = source.stop();
      assert.deepEqual([...new Set(states(resident.pid))], ['T']);
      stopped.resume();
      stopped.resume();
      assert.equal(resident.cage.ask(PORT, '1'), '1');
    }
    await assertUnnoticed(resident);
  });

  test('also one that waits for SIGCONT instead of handling it', async () => {
    await using resident = await start('signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCONT])');
    using source = open(resident.pid);
    source.stop().resume();
    await assertUnnoticed(resident);
  });

  test('while threads begin and end all the time', async () => {
    await using resident = await start(
      'def churn():\n while True:\n  t = threading.Thread(target=int); t.start(); t.join()',
      'for i in range(3): background("churn" + str(i), churn)',
    );
    using source = open(resident.pid);
    for (let round = 0; round < 20; round++) {
      source.stop();
      const threads = listThreads(resident.pid);
      assert.deepEqual([...new Set(states(resident.pid).filter((state) => state !== 'Z'))], ['T']);
      await pause(2);
      assert.deepEqual(listThreads(resident.pid), threads);
      source.stopped.resume();
      await pause(5);
    }
    await assertUnnoticed(resident);
  });

  test('stays so when the engine is killed, and another one lets it run', async () => {
    await using resident = await start();
    assert.equal(await killEngineAt('stop', resident.pid), 'stopped');
    await untilStopped(resident.pid);
    assert.equal(resident.cage.ask(PORT, '1', 100), null);
    resumeStopped(resident.pid);
    await assertUnnoticed(resident);
  });

  test('is not woken by SIGCONT where its control group is frozen, too', async () => {
    const resident = await start();
    await withCgroup(resident, async (cgroup) => {
      using source = open(resident.pid, { cgroup });
      source.stop();
      sendSignal(resident.pid, SIGNAL.CONT);
      await pause(20);
      assert.equal(resident.cage.ask(PORT, '1', 100), null);
    });
  });

  test('and frozen runs on unnoticed, or is killed', async () => {
    const resident = await start();
    await withCgroup(resident, async (cgroup) => {
      using source = open(resident.pid, { cgroup });
      source.stop();
      await pause(20);
      source.stopped.resume();
      await assertUnnoticed(resident);
      source.stop().kill();
      for (let tries = 0; tries < 100 && resident.cage.processes.includes(resident.pid); tries++) await pause(5);
      assert.deepEqual(resident.cage.processes, []);
    });
  });

  test('and has ended is gone', async () => {
    await using resident = await start();
    using source = open(resident.pid);
    sendSignal(resident.pid, SIGNAL.KILL);
    await pause(50);
    assert.throws(
      () => source.stop(),
      (error) => error instanceof ComicranError && error.code === 'process.gone',
    );
    source.stopped.kill();
  });
});
