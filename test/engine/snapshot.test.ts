/** Needs root. A snapshot of a process that runs on and has noticed nothing. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ComicranError } from '../../src/base/errors.ts';
import { type CaptureFault, SNAPSHOT_FAULTS } from '../../src/checkpoint/faults.ts';
import { listChildren, listThreads, parseSmaps, readProc, readStatus } from '../../src/linux/procfs.ts';
import { needs } from '../support/needs.ts';
import { Cage, NODE, PYTHON, program } from './support/cage.ts';
import { withCgroup } from './support/cgroup.ts';
import { open, Resident, restore } from './support/engine.ts';

const skip = needs('root', 'unshare', 'nsenter', 'python3', 'ip');
const PORT = 7110;

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** What a process could notice, as far as it does not change by itself: areas with their advice, descriptors, children. */
function visible(pid: number): unknown {
  return {
    areas: parseSmaps(readProc(pid, 'smaps')).map(({ start, end, permissions, name, flags }) => {
      const kept = [...flags].filter((flag) => flag !== 'sd').join(' ');
      return `${start.toString(16)}-${end.toString(16)} ${permissions} ${name} ${kept}`;
    }),
    descriptors: readdirSync(`/proc/${pid}/fd`).map((number) => [
      number,
      readlinkSync(`/proc/${pid}/fd/${number}`),
      readFileSync(`/proc/${pid}/fdinfo/${number}`, 'latin1').replace(/eventfd-count:.*/, ''),
    ]),
    children: listChildren(pid),
    threads: listThreads(pid).map((tid) => {
      const status = readStatus(pid, tid);
      return [
        tid,
        status.text('TracerPid'),
        ...['SigBlk', 'SigIgn', 'SigCgt', 'SigPnd'].map((line) => status.text(line)),
      ];
    }),
  };
}

/** Of processes in the sandbox only the resident is left. */
async function assertAlone({ cage, pid }: Resident): Promise<void> {
  for (let tries = 0; tries < 100 && listChildren(cage.init).length > 1; tries++) await pause(5);
  assert.deepEqual(listChildren(cage.init), [pid]);
}

const WATCHFUL = [
  'import select, mmap',
  'poller = select.epoll()',
  'ticks = [0, 0, 0]',
  'def tick(index):\n while True:\n  ticks[index] += 1\n  time.sleep(0.001)',
  'for i in range(3): background(str(i), lambda i=i: tick(i))',
  'event = (ctypes.c_char * 12)()',
  'background("wait", lambda: c("epoll_wait", poller.fileno(), event, 1, 120000))',
  'ended = []',
  'signal.signal(signal.SIGCHLD, lambda *_: ended.append(1))',
  'def wait_any(flags):\n try: return os.waitpid(-1, flags)\n except ChildProcessError: return None',
].join('\n');

async function startWatchful(): Promise<Resident> {
  const resident = await Resident.start([PYTHON, program('repl.py'), String(PORT)]);
  await resident.cage.askUntilAnswered(PORT, '1');
  assert.equal(resident.cage.ask(PORT, WATCHFUL), 'None');
  return resident;
}

describe('a process of which 50 snapshots are taken', { skip }, () => {
  test('goes on, and has noticed nothing', async () => {
    await using resident = await startWatchful();
    const { cage, pid } = resident;
    using source = open(pid);
    await pause(50);
    const before = visible(pid);
    for (let round = 0; round < 50; round++) {
      const ticks = cage.ask(PORT, 'ticks');
      using snapshot = source.snapshot();
      assert.ok(snapshot.pages.length > 0);
      assert.deepEqual(listChildren(pid), []);
      assert.notEqual(cage.ask(PORT, 'ticks'), ticks);
    }
    assert.deepEqual(visible(pid), before);
    assert.equal(
      cage.ask(PORT, '(ended, wait_any(os.WNOHANG), wait_any(os.WNOHANG | 0x40000000))'),
      '([], None, None)',
    );
    assert.equal(cage.ask(PORT, '"wait" in results'), 'False');
    await assertAlone(resident);
  });

  test('with the threads, timers and garbage of Node', async () => {
    await using server = await Resident.start([NODE, program('app.cjs'), String(PORT)]);
    await server.cage.askUntilAnswered(PORT, '2');
    const expected = server.cage.ask(PORT, 'check', 15_000);
    using source = open(server.pid);
    let count = 2;
    for (let round = 0; round < 50; round++) {
      using _snapshot = source.snapshot();
      count++;
      assert.equal(server.cage.ask(PORT, '3'), `9 ${count}`);
    }
    assert.equal(server.cage.ask(PORT, 'check', 15_000), expected);
    assert.ok(parseSmaps(readProc(server.pid, 'smaps')).some(({ flags }) => flags.has('dc')));
    await assertAlone(server);
  });
});

test('a snapshot is the state of its moment, restored while the process goes on', { skip }, async () => {
  await using resident = await startWatchful();
  await using next = await Cage.make();
  const { cage } = resident;
  using source = open(resident.pid);
  assert.equal(cage.ask(PORT, 'value = "then"'), 'None');
  const scoreOf = (pid: number): string => readFileSync(`/proc/${pid}/oom_score_adj`, 'latin1').trim();
  writeFileSync(`/proc/${resident.pid}/oom_score_adj`, '321');
  let stopped: string[] = [];
  using snapshot = source.snapshot({
    atStop: () => {
      stopped = listThreads(resident.pid).map((tid) => readStatus(resident.pid, tid).text('State')[0]!);
    },
  });
  assert.equal(cage.ask(PORT, 'value = "now"'), 'None');
  const count = Number(cage.ask(PORT, 'count'));
  const copy = await restore(snapshot, next);
  copy.run();
  assert.equal(next.ask(PORT, 'value'), "'then'");
  assert.equal(Number(next.ask(PORT, 'count')), count);
  assert.equal(cage.ask(PORT, 'value'), "'now'");
  assert.deepEqual([...new Set(stopped)], ['t']);
  // The clone's own says that it goes first where memory is short.
  assert.equal(scoreOf(copy.pid), '321');
  assert.ok(snapshot.freezeMicros > 0);
});

test('a snapshot outlasts the next ones, and every one is of its own moment', { skip }, async () => {
  await using resident = await startWatchful();
  using source = open(resident.pid);
  const snapshots = [1, 2, 3].map((value) => {
    resident.cage.ask(PORT, `value = ${value}`);
    return source.snapshot();
  });
  for (const [index, snapshot] of snapshots.entries()) {
    await using next = await Cage.make();
    const copy = await restore(snapshot, next);
    copy.run();
    assert.equal(next.ask(PORT, 'value'), String(index + 1));
    snapshot.close();
    snapshot.close();
  }
  await assertAlone(resident);
});

test('memory that a fork leaves behind or wipes is in the snapshot, and its advice stays', { skip }, async () => {
  await using resident = await Resident.start([PYTHON, program('repl.py'), String(PORT)]);
  await resident.cage.askUntilAnswered(PORT, '1');
  const prepare = [
    'import mmap',
    'left = [mmap.mmap(-1, 1 << 16, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(8)]',
    'for i, m in enumerate(left): m.write(bytes([i + 1]) * len(m)); m.madvise(10 if i % 2 else 18)',
    'sums = lambda: [sum(m[:]) for m in left]',
  ].join('\n');
  assert.equal(resident.cage.ask(PORT, prepare), 'None');
  const expected = resident.cage.ask(PORT, 'sums()');
  const advised = (pid: number): string[] =>
    parseSmaps(readProc(pid, 'smaps')).flatMap(({ start, end, flags }) =>
      ['dc', 'wf'].filter((flag) => flags.has(flag)).map((flag) => `${start.toString(16)}-${end.toString(16)} ${flag}`),
    );
  const before = advised(resident.pid);
  assert.ok(before.some((area) => area.endsWith('dc')) && before.some((area) => area.endsWith('wf')));
  await using next = await Cage.make();
  using source = open(resident.pid);
  using snapshot = source.snapshot();
  const copy = await restore(snapshot, next);
  copy.run();
  assert.equal(next.ask(PORT, 'sums()'), expected);
  assert.deepEqual(advised(resident.pid), before);
  assert.deepEqual(advised(copy.pid), before);
});

test('a subreaper stays one, and does not become the parent of the clone', { skip }, async () => {
  await using resident = await startWatchful();
  const { cage, pid } = resident;
  assert.equal(cage.ask(PORT, 'flag = ctypes.c_int(); c("prctl", 36, 1, 0, 0, 0)'), 'None');
  using source = open(pid);
  using _snapshot = source.snapshot();
  assert.deepEqual(listChildren(pid), []);
  assert.equal(
    cage.ask(PORT, '(c("prctl", 37, ctypes.byref(flag), 0, 0, 0), flag.value, wait_any(1))'),
    '(0, 1, None)',
  );
});

describe('a failure in the middle of a snapshot leaves the process as it was, and no clone', { skip }, () => {
  for (const point of SNAPSHOT_FAULTS)
    test(point, async () => {
      await using resident = await startWatchful();
      const { cage, pid } = resident;
      const before = visible(pid);
      const failure = new ComicranError('process.trace', 'as the test wants it');
      let reached = '';
      const reach = (at: CaptureFault): void => {
        reached = at;
        if (at === point) throw failure;
      };
      assert.throws(() => {
        using source = open(pid, { faults: { reach } });
        source.snapshot();
      }, failure);
      assert.equal(reached, point);
      await assertAlone(resident);
      // Threads that had not stopped when it failed are let go when they have.
      await pause(20);
      assert.deepEqual(visible(pid), before);
      const ticks = cage.ask(PORT, 'ticks');
      await pause(20);
      assert.notEqual(cage.ask(PORT, 'ticks'), ticks);
    });

  test('in atStop', async () => {
    await using resident = await startWatchful();
    using source = open(resident.pid);
    const failure = new Error('as the test wants it');
    const atStop = (): void => {
      throw failure;
    };
    assert.throws(() => source.snapshot({ atStop }), failure);
    assert.equal(resident.cage.ask(PORT, '1'), '1');
    source.snapshot().close();
    await assertAlone(resident);
  });
});

test('a sandbox that may have no more processes is refused, or given room where its control group is known', {
  skip,
}, async () => {
  const resident = await startWatchful();
  await withCgroup(resident, async (cgroup) => {
    const limits = cgroup.paths.map((path) => join(path, 'pids.max')).filter((path) => existsSync(path));
    assert.ok(limits.length > 0);
    const count = String(listThreads(resident.pid).length);
    for (const limit of limits) writeFileSync(limit, count);
    const before = visible(resident.pid);
    assert.throws(
      () => {
        using source = open(resident.pid);
        source.snapshot();
      },
      (error) =>
        error instanceof ComicranError && error.code === 'process.unsupported' && /limits\.pids/.test(error.hint!),
    );
    assert.deepEqual(visible(resident.pid), before);
    using source = open(resident.pid, { cgroup });
    source.snapshot().close();
    for (const limit of limits) assert.equal(readFileSync(limit, 'latin1').trim(), count);
    assert.deepEqual(visible(resident.pid), before);
  });
});
