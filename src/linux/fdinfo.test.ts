import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  parseDescriptorInfo,
  parseEpollItems,
  parseEventfd,
  parseInotifyWatches,
  parseLocks,
  parseSignalfdMask,
  parseTimerfd,
} from './fdinfo.ts';

const common = 'pos:\t4096\nflags:\t02100001\nmnt_id:\t27\nino:\t2149522\n';

test('the fields that every descriptor has', () => {
  assert.deepEqual(parseDescriptorInfo(common), { position: 4096n, flags: 0o2100001, mountId: 27, inode: '2149522' });
});

test('an eventfd, with and without the field that kernels before 6.5 lack', () => {
  const old = `${common}eventfd-count:               1f\neventfd-id: 1\n`;
  assert.deepEqual(parseEventfd(old), { count: 31n, semaphore: null });
  assert.deepEqual(parseEventfd(`${old}eventfd-semaphore: 1\n`), { count: 31n, semaphore: true });
  assert.deepEqual(parseEventfd(`${old}eventfd-semaphore: 0\n`), { count: 31n, semaphore: false });
});

test('a signalfd', () => {
  assert.equal(parseSignalfdMask(`${common}sigmask:\t8000000000000200\n`), 0x8000000000000200n);
});

test('a timerfd', () => {
  const text = `${common}clockid: 7\nticks: 3\nsettime flags: 01\nit_value: (2, 49406829)\nit_interval: (1, 0)\n`;
  assert.deepEqual(parseTimerfd(text), {
    clock: 7,
    ticks: 3n,
    settimeFlags: 1,
    remaining: 2_049_406_829n,
    interval: 1_000_000_000n,
  });
});

test('the items of an epoll descriptor, in order, with data of 64 bits', () => {
  const text = `${common}tfd:        5 events:       1d data:                5  pos:0 ino:61af sdev:7
tfd:       11 events: c0000019 data: ffffffff7fffffff  pos:0 ino:40e sdev:10\n`;
  assert.deepEqual(parseEpollItems(text), [
    { number: 5, events: 0x1d, data: 5n, inode: '25007' },
    { number: 11, events: 0xc0000019, data: 0xffffffff7fffffffn, inode: '1038' },
  ]);
});

test('locks', () => {
  const text = `${common}lock:\t1: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF
lock:\t2: POSIX  ADVISORY  READ  359 fe:00:11691 10 19
lock:\t3: OFDLCK ADVISORY  WRITE -1 fe:00:11691 7 15\n`;
  assert.deepEqual(parseLocks(text), [
    { type: 'FLOCK', exclusive: true, start: 0n, end: null },
    { type: 'POSIX', exclusive: false, start: 10n, end: 19n },
    { type: 'OFDLCK', exclusive: true, start: 7n, end: 15n },
  ]);
});

test('the watches of an inotify descriptor, with and without a handle', () => {
  const text = `${common}inotify wd:a ino:20e3d8 sdev:fe00000 mask:100 ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:d8e320005bcd5801
inotify wd:1 ino:1 sdev:10 mask:2 ignored_mask:0 \n`;
  assert.deepEqual(parseInotifyWatches(text), [
    {
      watch: 10,
      inode: 0x20e3d8n,
      device: 0xfe00000,
      mask: 0x100,
      handle: { type: 1, bytes: Buffer.from('d8e320005bcd5801', 'hex') },
    },
    { watch: 1, inode: 1n, device: 0x10, mask: 2, handle: null },
  ]);
});
