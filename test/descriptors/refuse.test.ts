/** Needs root, /usr/bin/python3 and util-linux. What cannot be moved is named before anything is touched. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { describe, test } from 'node:test';
import { ComicranError } from '../../src/base/errors.ts';
import { captureDescriptors } from '../../src/checkpoint/descriptors/capture.ts';
import { inspectDescriptors } from '../../src/checkpoint/descriptors/inspect.ts';
import { listThreads } from '../../src/linux/procfs.ts';
import { needs } from '../support/needs.ts';
import { describeDescriptors } from './describe.ts';
import { go, startStopped } from './processes.ts';

/** Programs whose descriptor 3, or another one that the text names, cannot be moved, and how it is called. */
const REFUSED: readonly (readonly [python: string, text: RegExp, seenOnlyWhenStopped?: true])[] = [
  [
    `l = socket.socket(); l.bind(('127.0.0.1', 80)); l.listen(); os.dup2(os.open('/dev/null', 0), 9)
c = socket.socket(); c.connect(('127.0.0.1', 80)); a, _ = l.accept(); os.dup2(c.fileno(), 7)
for s in (l, c, a): s.close()`,
    /descriptor 7 is a TCP socket connected to 127\.0\.0\.1:80(;|$)/,
  ],
  [
    `l = socket.socket(socket.AF_INET6); l.bind(('::1', 80)); l.listen(); c = socket.socket(socket.AF_INET6); c.connect(('::1', 80))`,
    /descriptor 3 is a TCP socket that listens on \[::1\]:80 and has 1 connections to accept; descriptor 4 is a TCP socket connected to \[::1\]:80/,
  ],
  [
    `s = udp(); s.bind(('127.0.0.1', 77)); s.setsockopt(17, 1, 1)`,
    /3 is a UDP socket 127\.0\.0\.1:77 with UDP_CORK set/,
  ],
  [`s = udp(); s.setsockopt(1, 37, 0x90)`, /3 is a UDP socket 0\.0\.0\.0:0 with SOF_TIMESTAMPING_OPT_ID/],
  [`s = socket.socket(socket.AF_UNIX); s.bind('\\0name'); s.listen()`, /3 is a unix stream socket bound to @name/],
  [
    `s = udp(); call('unshare', 0x40000000); t = udp(); keep += [s, t]`,
    /cannot be moved: descriptor 3 is an IPv4 datagram socket of protocol 17 in another network namespace$/,
  ],
  [
    `a, b = socket.socketpair()
if os.fork() == 0: a.close(); signal.pause()
b.close()`,
    /3 is a unix stream socket connected to an unnamed peer, whose other end is in another process/,
  ],
  [
    `a, b = socket.socketpair(); socket.send_fds(a, [b'x'], [0])`,
    /4 is a unix stream socket .*, with a message that carries descriptors or credentials/,
    true,
  ],
  [
    `s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); s.send(struct.pack('IHHII', 20, 18, 0x301, 1, 0) + bytes(4))`,
    /3 is a netlink raw socket of protocol 0, with unread messages/,
  ],
  [`s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)`, /3 is a netlink raw socket of protocol 12/],
  [`s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)`, /3 is a packet raw socket/],
  [`s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)`, /3 is an IPv4 raw socket of protocol 1/],
  [`s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136)`, /3 is an IPv4 datagram socket of protocol 136/],
  [`m, s = os.openpty()`, /3 is the terminal .*ptmx; descriptor 4 is the terminal \/dev\/pts\/\d+/],
  [`os.open('/dev/kmsg', 0)`, /3 is the device \/dev\/kmsg \(1:11\)/],
  [
    `os.mknod('/tmp/comicran-block', 0o60600, os.makedev(7, 9)); os.open('/tmp/comicran-block', os.O_PATH); os.unlink('/tmp/comicran-block')`,
    /3 is the block device \/tmp\/comicran-block.* \(7:9\)/,
  ],
  [`call('memfd_create', b'store', 0)`, /3 is the memory file \/memfd:store/],
  [`libc.syscall(434, os.getpid(), 0)`, /3 is .*pidfd/],
  [`os.open('/proc/self/ns/net', 0)`, /3 is net:\[\d+\]/],
  [
    `d = os.open('/proc', 0); libc.syscall(217, d, ctypes.create_string_buffer(999), 999)`,
    /3 is the directory \/proc, half read/,
  ],
  [
    `p = '/dev/shm/comicran-big'; f = open(p, 'w'); f.truncate(1 << 30); os.unlink(p)`,
    /3 is the file \/dev\/shm\/comicran-big, unlinked and too large/,
  ],
  [
    `p = '/tmp/comicran-linked'; f = os.open(p, os.O_CREAT | os.O_RDWR); os.link(p, p + '2'); os.unlink(p)`,
    /3 is the file \/tmp\/comicran-linked \(deleted\), which is not to be found at that path in the sandbox/,
  ],
  [
    `call('unshare', 0x20000); os.system('mount --make-rprivate / && mount -t tmpfs none /mnt')
f = open('/mnt/file', 'w'); os.system('umount -l /mnt')`,
    /3 is the file \/file, which is not to be found at that path in the sandbox/,
  ],
  [
    `r, w = os.pipe()
if os.fork() == 0: os.close(r); signal.pause()
os.close(w)`,
    /3 is the reading end of pipe:\[\d+\] whose other end is in another process/,
  ],
  [
    `e = select.epoll(); f = eventfd(1); e.register(f, 1)
if os.fork() == 0: signal.pause()
os.close(f)`,
    /3 is an epoll descriptor that watches something which is closed in the process and open elsewhere \(it was added as 4\)/,
  ],
  [
    `i = call('inotify_init'); call('inotify_add_watch', i, b'/tmp', 0x100); os.close(os.open('/tmp/comicran-event', os.O_CREAT)); os.unlink('/tmp/comicran-event')`,
    /3 is an inotify descriptor with unread events/,
  ],
  [
    `i = call('inotify_init'); f = os.open('/tmp/comicran-watched', os.O_CREAT); call('inotify_add_watch', i, b'/tmp/comicran-watched', 2); os.unlink('/tmp/comicran-watched')`,
    /3 is an inotify descriptor that watches inode \d+, whose path cannot be found/,
  ],
  [`params = bytearray(120); libc.syscall(425, 4, (ctypes.c_char * 120).from_buffer(params))`, /3 is an io_uring/],
  [
    `f = os.open('/dev/null', 0); fcntl.fcntl(f, fcntl.F_SETFL, os.O_NONBLOCK); r, w = os.pipe(); fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC)`,
    /4 is the reading end of pipe:\[\d+\], open with O_ASYNC/,
  ],
  [
    `p = '/tmp/comicran-leased'; f = os.open(p, os.O_CREAT); fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_RDLCK); os.unlink(p)`,
    /3 is \/tmp\/comicran-leased \(deleted\), open with O_ASYNC/,
  ],
  [
    `def unshared():
    libc.unshare(0x400); signal.pause()
threading.Thread(target=unshared, daemon=True).start(); time.sleep(0.1)`,
    /thread \d+ has a descriptor table of its own/,
  ],
];

/** Two runs of this test at a time do not meet in /tmp. */
const unique = (text: string): string => text.replaceAll('comicran-', `comicran-${process.pid}-`);

describe('descriptors that cannot be moved', { skip: needs('root', 'python3', 'unshare', 'ip') }, () => {
  for (const [python, text, seenOnlyWhenStopped] of REFUSED) {
    test(text.source, () => {
      const source = startStopped(unique(python));
      const { pid, pidfd, inherited } = source;
      const refusal = (error: unknown): boolean =>
        error instanceof ComicranError &&
        error.code === 'process.unsupported' &&
        new RegExp(unique(text.source)).test(error.message);
      try {
        const before = describeDescriptors(pid);
        const context = { pid, pidfd, threads: listThreads(pid), inherited };
        assert.throws(() => captureDescriptors(context), refusal);
        go(source);
        if (seenOnlyWhenStopped !== true) assert.throws(() => inspectDescriptors(context), refusal);
        assert.deepEqual(describeDescriptors(pid), before);
      } finally {
        source.end();
        rmSync(unique('/tmp/comicran-linked2'), { force: true });
      }
    });
  }
});
