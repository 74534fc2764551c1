/** Needs root. Freezing processes that do not make it easy. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { ComicranError } from '../../src/base/errors.ts';
import { NO_FAULTS } from '../../src/checkpoint/faults.ts';
import { freezeThreads, releaseThreads, Stragglers } from '../../src/checkpoint/freeze.ts';
import { continueQuietly } from '../../src/linux/continue.ts';
import { sendSignal } from '../../src/linux/pidfd.ts';
import { listChildren, listThreads, parseMaps, readProc, readStatus } from '../../src/linux/procfs.ts';
import { SIGNAL } from '../../src/linux/signals.ts';
import { SYS } from '../../src/linux/syscall-numbers.ts';
import { TracedProcess } from '../../src/linux/tracee.ts';
import { readVdso } from '../../src/linux/vdso.ts';
import { needs } from '../support/needs.ts';
import { Cage, PYTHON, program } from './support/cage.ts';
import { open, Resident, restore, untilStopped } from './support/engine.ts';

const skip = needs('root', 'unshare', 'nsenter', 'python3', 'ip');
const PORT = 7108;

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function start(...prepare: readonly string[]): Promise<Resident> {
  const resident = await Resident.start([PYTHON, program('repl.py'), String(PORT)]);
  await resident.cage.askUntilAnswered(PORT, '1');
  assert.equal(resident.cage.ask(PORT, prepare.join('\n')), 'None');
  return resident;
}

/** On a busy machine none of the threads may get to run for a while. */
async function untilOther(cage: Cage, before: string | null): Promise<void> {
  for (let tries = 0; tries < 100 && cage.ask(PORT, 'begun[0]') === before; tries++) await pause(10);
  assert.notEqual(cage.ask(PORT, 'begun[0]'), before, 'threads begin no more');
}

const states = (pid: number): string[] => listThreads(pid).map((tid) => readStatus(pid, tid).text('State')[0]!);

describe('a process that is frozen', { skip }, () => {
  test('while threads begin and end all the time', async () => {
    await using resident = await start(
      'begun = [0]',
      'def begin():\n begun[0] += 1',
      'def churn():\n while True:\n  t = threading.Thread(target=begin); t.start(); t.join()',
      'for i in range(3): background(str(i), churn)',
    );
    using source = open(resident.pid);
    for (let round = 0; round < 20; round++) {
      const before = resident.cage.ask(PORT, 'begun[0]');
      source.freeze().resume();
      await untilOther(resident.cage, before);
    }
    await resident.move();
    await untilOther(resident.cage, resident.cage.ask(PORT, 'begun[0]'));
  });

  test('while signals come: handlers run, and none is lost', async () => {
    await using resident = await start(
      'alarms = [0]',
      'def alarm(*_): alarms[0] += 1',
      'signal.pthread_sigmask(signal.SIG_BLOCK, [40])',
      'taken = []',
      'def take():\n while True: taken.append(signal.sigwaitinfo([40]).si_signo)',
      'background("take", take)',
      'libc.sigqueue.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]',
      'sent = [0]',
      'def send():\n for i in range(400):\n  libc.sigqueue(os.getpid(), 40, i); sent[0] += 1; time.sleep(0.001)',
      'background("send", send)',
      'signal.signal(signal.SIGALRM, alarm)',
      'signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)',
    );
    using source = open(resident.pid);
    for (let round = 0; round < 20; round++) {
      source.freeze().resume();
      await pause(7);
    }
    for (let tries = 0; tries < 60 && resident.cage.ask(PORT, '"send" in results') === 'False'; tries++)
      await pause(50);
    assert.equal(resident.cage.ask(PORT, '(sent[0], len(taken))'), '(400, 400)');
    const before = Number(resident.cage.ask(PORT, 'alarms[0]'));
    assert.ok(before > 20);
    assert.ok(Number(resident.cage.ask(PORT, 'alarms[0]')) > before);
  });

  test('and told to stop meanwhile stops afterwards', async () => {
    await using resident = await start('pass');
    using source = open(resident.pid);
    const frozen = source.freeze();
    sendSignal(resident.pid, SIGNAL.STOP);
    frozen.resume();
    await untilStopped(resident.pid);
    continueQuietly(resident.pid);
    assert.equal(resident.cage.ask(PORT, '1'), '1');
  });

  test('and told to stop while calls are injected stops afterwards, not before', async () => {
    await using resident = await start('background("x", lambda: time.sleep(100))');
    const traced = new TracedProcess(resident.pid, 0n, true);
    traced.syscallSite = readVdso(parseMaps(readProc(resident.pid, 'maps')), traced.memory).syscallSite;
    const frozen = freezeThreads(traced, { deadlineMicros: 1e6, stragglers: new Stragglers(), faults: NO_FAULTS });
    const main = frozen[0]!.thread;
    main.installAgent();
    const id = main.call('ask for the process id', SYS.getpid);
    assert.equal(Number(id), readStatus(resident.pid).innermost('NSpid'));
    main.call('stop', SYS.kill, id, SIGNAL.STOP);
    assert.equal(main.call('ask again', SYS.getpid), id);
    main.removeAgent();
    releaseThreads(traced, frozen);
    traced.close();
    await untilStopped(resident.pid);
    continueQuietly(resident.pid);
    assert.equal(resident.cage.ask(PORT, '1'), '1');
  });

  test('and killed from outside is gone, and says so', async () => {
    await using resident = await start('background("x", lambda: time.sleep(100))');
    using source = open(resident.pid);
    const frozen = source.freeze();
    sendSignal(resident.pid, SIGNAL.KILL);
    frozen.resume();
    await pause(20);
    assert.throws(
      () => source.freeze(),
      (error) => error instanceof ComicranError && error.code === 'process.gone',
    );
  });

  test('and stopped for good never sees SIGCONT, here or there, whether it has a handler or waits for it', async () => {
    const prepare = ['seen = []', 'signal.signal(signal.SIGCONT, lambda *_: seen.append(1))'];
    for (const more of ['pass', 'signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCONT])']) {
      await using resident = await start(...prepare, 'background("x", lambda: time.sleep(100))', more);
      const seen = (cage: Cage): string | null => cage.ask(PORT, '(len(seen), signal.sigpending())');
      using source = open(resident.pid);
      const frozen = source.freeze();
      await using next = await Cage.make();
      const restoring = await restore(frozen, next);
      await untilStopped(restoring.pid);
      frozen.holdStopped();
      restoring.run();
      assert.equal(seen(next), '(0, set())');
      frozen.resume();
      assert.equal(seen(resident.cage), '(0, set())');
    }
  });
});

test('a thread that does not stop in time is let go when it does', { skip }, async () => {
  // vfork: its thread cannot be interrupted before the child, which waits for a signal, is gone.
  await using resident = await start(
    'import mmap',
    'code = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7)',
    'code.write(bytes.fromhex("b83a0000000f0585c07510b8220000000f0531ffb83c0000000f05c3"))',
    'fork = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))',
    'background("fork", fork)',
    'background("wait", lambda: time.sleep(0.5))',
    'time.sleep(0.05)',
  );
  assert.throws(
    () => open(resident.pid),
    (error) => error instanceof ComicranError && /child processes/.test(error.message),
  );
  const stragglers = new Stragglers();
  const traced = new TracedProcess(resident.pid, 0n, true);
  assert.throws(
    () => freezeThreads(traced, { deadlineMicros: 30_000, stragglers, faults: NO_FAULTS }),
    (error) => error instanceof ComicranError && error.code === 'deadline',
  );
  traced.close();
  assert.equal(stragglers.count, 1);
  assert.equal(resident.cage.ask(PORT, '1'), '1');
  assert.deepEqual(states(resident.pid).toSorted(), ['D', 'S', 'S']);
  sendSignal(listChildren(resident.pid)[0]!, SIGNAL.KILL);
  for (let tries = 0; tries < 100 && stragglers.count > 0; tries++) await pause(5);
  assert.equal(stragglers.count, 0);
  await pause(600);
  assert.match(resident.cage.ask(PORT, '(results["fork"][0] > 0, results["wait"][0])') ?? '', /^\(True, None\)$/);
  for (const tid of listThreads(resident.pid)) assert.equal(readStatus(resident.pid, tid).number('TracerPid'), 0);
});

test('the engine works in a worker thread', { skip }, async () => {
  await using resident = await start('background("x", lambda: time.sleep(100))');
  await using next = await Cage.make();
  const worker = new Worker(new URL('./programs/worker.ts', import.meta.url), {
    workerData: { pid: resident.pid, hatchery: await next.hatchery() },
  });
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  const result = await new Promise<unknown>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  clearInterval(timer);
  assert.equal(typeof result, 'number');
  assert.ok(ticks > 0, 'the main thread goes on meanwhile');
  assert.equal(next.ask(PORT, 'threading.active_count()'), '2');
  await worker.terminate();
});
