/** What a process that is tracked notices: nothing. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ComicranError } from '../../src/base/errors.ts';
import { PageFinder } from '../../src/linux/pagemap.ts';
import { parseSmaps, readProc } from '../../src/linux/procfs.ts';
import { SoftDirtyScan } from '../../src/linux/soft-dirty.ts';
import { OwnPages, WriteScan } from '../../src/linux/write-scan.ts';
import { listAreas } from '../../src/paging/tracking/areas.ts';
import { openTracker } from '../../src/paging/tracking/write-tracker.ts';
import { NODE } from '../engine/support/cage.ts';
import { needs } from '../support/needs.ts';
import { Copy, facts, stopperOf, Target, track, whileStopped } from './support/tracking.ts';

const skip = needs('root', 'python3');

const descriptors = (pid: number): string[] =>
  readdirSync(`/proc/${pid}/fd`).map((number) => `${number} ${readlinkSync(`/proc/${pid}/fd/${number}`)}`);

const trackedAreas = (pid: number): number =>
  parseSmaps(readProc(pid, 'smaps')).filter(({ flags }) => flags.has('uw')).length;

/** The areas of a process, as they are where nothing keeps two from being one. */
const areas = (pid: number): string[] =>
  readProc(pid, 'maps')
    .split('\n')
    .map((line) => line.slice(0, 100));

/** Keeps a copy up to date while the process is busy, and compares it. */
async function follow(target: Target, seed: number): Promise<void> {
  using tracker = track(target.pid);
  const copy = new Copy();
  copy.follow(tracker);
  const churning = target.tell(`churn ${seed} 100 2`);
  copy.follow(tracker);
  await churning;
  whileStopped(target.pid, () => {
    const last = tracker.last();
    copy.apply(last, (ranges, into) => last.read(ranges, into));
    copy.assertEqualTo(target.pid);
  });
}

test('a tracker leaves nothing in the process, and another can follow', { skip }, async () => {
  await using target = await Target.scribbler();
  await target.tell('churn 1 200 1');
  const before = [descriptors(target.pid), areas(target.pid)];
  for (const seed of [10, 20, 30]) {
    const tracker = track(target.pid);
    tracker.next();
    assert.deepEqual(descriptors(target.pid), before[0]);
    assert.ok(trackedAreas(target.pid) > 5);
    tracker.close();
    assert.equal(trackedAreas(target.pid), 0);
    if (seed === 10) assert.deepEqual(areas(target.pid), before[1]);
    await follow(target, seed);
    assert.equal(trackedAreas(target.pid), 0);
    assert.deepEqual(descriptors(target.pid), before[0]);
  }
});

test('much memory is let go in steps, all of it', { skip }, async () => {
  const program =
    'import mmap,sys\nm=mmap.mmap(-1,300<<20,flags=mmap.MAP_PRIVATE|mmap.MAP_ANONYMOUS)\n' +
    'm.madvise(mmap.MADV_NOHUGEPAGE,0,150<<20)\nm.madvise(mmap.MADV_HUGEPAGE,150<<20)\n' +
    'for i in range(0,300<<20,4096):m[i]=1\nprint("ready",flush=True)\nsys.stdin.read()';
  await using target = await Target.start(['/usr/bin/python3', '-c', program]);
  const before = areas(target.pid);
  const tracker = track(target.pid);
  assert.ok(tracker.next().writtenBytes > 300 << 20);
  assert.ok(trackedAreas(target.pid) > 5);
  tracker.close();
  assert.equal(trackedAreas(target.pid), 0);
  assert.deepEqual(areas(target.pid), before);
  // Nothing is write-protected any more: all of it would count as written.
  const scan = new WriteScan(target.pid);
  const seen = new OwnPages();
  for (const area of listAreas(target.pid)) scan.look(area, seen);
  scan.close();
  assert.equal(seen.changed.bytes, seen.own.bytes);
});

test('a process of which there is a second tracker at the same time', { skip }, async () => {
  await using target = await Target.scribbler();
  using tracker = track(target.pid);
  tracker.next();
  assert.throws(
    () => track(target.pid),
    (error) => error instanceof ComicranError && error.code === 'process.unsupported',
  );
  assert.equal(await target.tell('churn 5 50 1'), 'ok');
  assert.ok(tracker.next().writtenBytes > 0);
});

test('a tracker that is killed leaves the process alive and right', { skip }, async () => {
  await using target = await Target.scribbler();
  await target.tell('churn 1 200 1');
  const before = descriptors(target.pid);
  const churning = target.tell('churn 2 3000 2');
  const doomed = spawn(NODE, [join(import.meta.dirname, 'programs/tracker.ts'), String(target.pid)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const over = once(doomed, 'exit');
  await Promise.race([once(doomed.stdout, 'data'), over.then(() => assert.fail('it ended by itself'))]);
  assert.ok(trackedAreas(target.pid) > 5);
  doomed.kill('SIGKILL');
  await over;
  assert.equal(await churning, 'ok');
  assert.equal(trackedAreas(target.pid), 0);
  assert.deepEqual(descriptors(target.pid), before);
  await follow(target, 3);
});

test('a tracked process can fork, and parent and child have memory of their own', { skip }, async () => {
  await using target = await Target.scribbler();
  await target.tell('churn 4 200 1');
  using tracker = track(target.pid);
  const copy = new Copy();
  copy.follow(tracker);
  assert.equal(await target.tell('fork'), '0');
  await target.tell('churn 5 50 1');
  assert.equal(await target.tell('fork'), '0');
  whileStopped(target.pid, () => {
    const last = tracker.last();
    copy.apply(last, (ranges, into) => last.read(ranges, into));
    copy.assertEqualTo(target.pid);
  });
});

test('a process without privileges in a user namespace is tracked', {
  skip: needs('root', 'python3', 'unshare'),
}, async () => {
  const words = ['/usr/bin/unshare', '--user', '/usr/bin/python3', join(import.meta.dirname, 'programs/scribbler.py')];
  await using target = await Target.start(words);
  await target.tell('churn 7 100 1');
  await follow(target, 8);
});

test('a process that has ended', { skip }, async () => {
  const target = await Target.scribbler();
  const tracker = track(target.pid);
  tracker.next();
  await target[Symbol.asyncDispose]();
  assert.throws(
    () => tracker.next(),
    (error) => error instanceof ComicranError && error.code === 'process.gone',
  );
  tracker.close();
});

test('a kernel that does not note writes', { skip }, async () => {
  await using target = await Target.scribbler();
  const options = { facts: { ...facts, writeTracking: 'none' as const }, inStop: stopperOf(target.pid) };
  assert.throws(
    () => openTracker(target.pid, options),
    (error) => error instanceof ComicranError && error.code === 'needs.kernel',
  );
});

test('where there are soft-dirty bits, they are what is used', { skip }, async () => {
  await using target = await Target.scribbler();
  await target.tell('churn 9 200 1');
  const options = { facts: { ...facts, writeTracking: 'soft-dirty' as const }, inStop: stopperOf(target.pid) };
  using tracker = openTracker(target.pid, options);
  const copy = new Copy();
  // It has said that it is done, and goes on to wait.
  await new Promise((resolve) => setTimeout(resolve, 50));
  copy.follow(tracker);
  assert.equal(trackedAreas(target.pid), 0);
  // The kernel of this machine may have no such bits: what was written since would not be told.
  whileStopped(target.pid, () => copy.assertEqualTo(target.pid));
});

test('own pages are the same whichever way they are found', { skip }, async () => {
  await using target = await Target.scribbler();
  await target.tell('churn 11 600 2');
  using tracker = track(target.pid);
  tracker.next();
  await target.tell('churn 12 200 1');
  const finder = new PageFinder(target.pid, facts.pagemapScan);
  const scan = new WriteScan(target.pid);
  const bits = new SoftDirtyScan(target.pid);
  for (const area of listAreas(target.pid)) {
    const expected = finder.ownPages(BigInt(area.start), BigInt(area.end)).map(({ start, end }) => [start, end]);
    for (const way of [scan, bits]) {
      const seen = new OwnPages();
      way.look(area, seen);
      const found = seen.own.toRanges().map(({ start, length }) => [start, start + BigInt(length)]);
      // Where a page of a file was thrown away that had been written, a mark is left which counts as a page.
      if (!area.isFile) assert.deepEqual(found, expected, `${area.start.toString(16)}, ${way.constructor.name}`);
      else assert.ok(found.length >= expected.length);
    }
  }
  finder.close();
  scan.close();
  bits.close();
});

test('more runs of pages than the kernel names at once', { skip }, async () => {
  const program =
    'import mmap,sys\nm=mmap.mmap(-1,96<<20,flags=mmap.MAP_PRIVATE|mmap.MAP_ANONYMOUS)\n' +
    'm.madvise(mmap.MADV_NOHUGEPAGE)\nfor i in range(0,96<<20,8192):m[i]=1\nprint("ready",flush=True)\nsys.stdin.read()';
  await using target = await Target.start(['/usr/bin/python3', '-c', program]);
  const copy = new Copy();
  using tracker = track(target.pid);
  copy.follow(tracker);
  whileStopped(target.pid, () => copy.assertEqualTo(target.pid));
  // It does nothing any more, once it has begun to wait.
  assert.ok(tracker.next().writtenBytes < 1 << 20);
});

test('a reservation of 16 TB with some pages in it', { skip }, async () => {
  const program =
    'import ctypes,sys\nlibc=ctypes.CDLL(None);libc.mmap.restype=ctypes.c_uint64\n' +
    'libc.mmap.argtypes=[ctypes.c_uint64,ctypes.c_uint64]+[ctypes.c_int]*3+[ctypes.c_uint64]\n' +
    'at=libc.mmap(0,1<<44,3,0x4022,-1,0)\nfor i in range(100):ctypes.memset(at+i*(1<<37)+i*4096,i,1)\n' +
    'print("ready",flush=True)\nsys.stdin.read()';
  await using target = await Target.start(['/usr/bin/python3', '-c', program]);
  assert.ok(listAreas(target.pid).some(({ start, end }) => end - start === 2 ** 44));
  const copy = new Copy();
  using tracker = track(target.pid);
  copy.follow(tracker);
  tracker.prepare();
  whileStopped(target.pid, () => {
    const last = tracker.last();
    copy.apply(last, (ranges, into) => last.read(ranges, into));
    copy.assertEqualTo(target.pid);
  });
});
