import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ComicranError } from '../base/errors.ts';
import { syscall } from './libc.ts';
import { ProcessMemory } from './memory.ts';
import { PageFinder } from './pagemap.ts';
import {
  listThreads,
  parseMaps,
  parseSmaps,
  parseTimers,
  readProc,
  readProcLink,
  readStat,
  readStatus,
  StatusFile,
} from './procfs.ts';
import { SYS } from './syscall-numbers.ts';

const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;

test('timers', () => {
  const text =
    'ID: 2\nsignal: 0/0000000000001234\nnotify: none/pid.10382\nClockID: 1\n' +
    'ID: 1\nsignal: 34/00000000000000ff\nnotify: signal/tid.10382\nClockID: -6\n';
  assert.deepEqual(parseTimers(text), [
    { id: 2, signal: 0, value: 0x1234n, notify: 'none', toThread: false, target: 10382, clock: 1 },
    { id: 1, signal: 34, value: 0xffn, notify: 'signal', toThread: true, target: 10382, clock: -6 },
  ]);
  assert.throws(() => parseTimers('ID: 2\nsignal: 0\n'), ComicranError);
  assert.deepEqual(parseTimers(''), []);
});

test('lines of status', () => {
  const status = new StatusFile('Name:\tx\nNSpid:\t10\t20\t3\nGroups:\t \nSigBlk:\t00000000000000f0\n');
  assert.equal(status.innermost('NSpid'), 3);
  assert.deepEqual(status.numbers('Groups'), []);
  assert.equal(status.hex('SigBlk'), 0xf0n);
  assert.equal(status.has('Pid'), false);
  assert.throws(() => status.text('Pid'), ComicranError);
});

test('this process', () => {
  const pid = process.pid;
  assert.ok(listThreads(pid).includes(pid));
  assert.equal(readProcLink(pid, 'exe'), process.execPath);
  assert.equal(readStatus(pid).number('Pid'), pid);
  assert.match(readStat(pid).text(3), /^[RS]$/);
  const maps = parseMaps(readProc(pid, 'maps'));
  assert.ok(maps.length > 20);
  assert.ok(Math.abs(parseSmaps(readProc(pid, 'smaps')).length - maps.length) < 10);
});

test('a process that has ended', () => {
  const gone = (error: unknown): boolean => error instanceof ComicranError && error.code === 'process.gone';
  assert.throws(() => readStatus(4_000_000), gone);
  assert.throws(() => readProcLink(4_000_000, 'exe'), gone);
  assert.throws(() => listThreads(4_000_000), gone);
});

test('both ways to find pages find the same ones', { skip: process.getuid?.() !== 0 ? 'needs root' : false }, () => {
  const length = 64 * 4096;
  const start = BigInt(syscall('mmap', SYS.mmap, 0, length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0));
  const memory = new ProcessMemory(process.pid);
  for (let at = 0; at < length; at += 8192) memory.write(start + BigInt(at), Buffer.from('x'));
  const scan = new PageFinder(process.pid, true);
  const walk = new PageFinder(process.pid, false);
  try {
    const end = start + BigInt(length);
    const found = scan.ownPages(start, end);
    assert.deepEqual(walk.ownPages(start, end), found);
    assert.equal(found.length, 32);
  } finally {
    syscall('munmap', SYS.munmap, start, length);
    memory.close();
    scan.close();
    walk.close();
  }
});
