/** Programs that hold descriptors of every kind that can be moved. */

export type Case = {
  readonly name: string;
  readonly python: string;
  /** The descriptors hold something that can be held once: the source ends before they are recreated. */
  readonly exclusive?: boolean;
};

const BASIC: Case[] = [
  { name: 'nothing but the standard descriptors', python: '' },
  { name: 'eventfd', python: 'eventfd(0); eventfd(7, os.O_NONBLOCK)' },
  { name: 'eventfd as a semaphore', python: 'eventfd(5, 1); eventfd(0, 1); eventfd(1, 1 | os.O_NONBLOCK)' },
  {
    name: 'eventfd with a count beyond 32 bits',
    python: `e = eventfd(0, os.O_NONBLOCK)
os.write(e, struct.pack('Q', (1 << 64) - 2))
f = eventfd(0); os.write(f, struct.pack('Q', 1 << 40))`,
  },
  {
    name: 'devices',
    python: "for d in ('null', 'zero', 'full', 'random', 'urandom'): os.open('/dev/' + d, os.O_RDWR)",
  },
  {
    name: 'signalfd',
    python: 'signalfd([signal.SIGUSR1, signal.SIGHUP]); signalfd([], os.O_NONBLOCK); signalfd([64])',
  },
];

const TIMERS: Case[] = [
  { name: 'timerfd that was never set', python: 'timerfd(0); timerfd(1, os.O_NONBLOCK); timerfd(7)' },
  {
    name: 'timerfd that runs',
    python: 'settime(timerfd(1), 3600 * 10**9); settime(timerfd(0), 3600 * 10**9, 5 * 10**9)',
  },
  { name: 'timerfd with an interval and no value', python: 'settime(timerfd(1), 0, 10**9)' },
  {
    name: 'timerfd set to a time',
    python: `settime(timerfd(0), time.time_ns() + 3600 * 10**9, 0, 1)
settime(timerfd(0), time.time_ns() + 3600 * 10**9, 10**9, 3)
settime(timerfd(1), time.monotonic_ns() + 3600 * 10**9, 0, 1)
settime(timerfd(7), time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 3600 * 10**9, 10**9, 1)`,
  },
  {
    name: 'timerfd that has expired once, unread',
    python: 'settime(timerfd(1), 1); settime(timerfd(0, os.O_NONBLOCK), 1, 0, 1); time.sleep(0.01)',
  },
  {
    name: 'timerfd that has expired and was read',
    python: 't = timerfd(1); settime(t, 1); os.read(t, 8)',
  },
];

const PIPES: Case[] = [
  { name: 'empty pipe', python: 'os.pipe2(0); os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)' },
  { name: 'pipe with contents', python: "r, w = os.pipe(); os.write(w, b'some bytes'); os.write(w, b'and more')" },
  { name: 'full pipe', python: 'r, w = os.pipe2(os.O_NONBLOCK); os.write(w, os.urandom(65536))' },
  {
    name: 'pipe of another size',
    python: `r, w = os.pipe(); fcntl.fcntl(w, 1031, 1 << 20); os.write(w, bytes(range(256)) * 3000)
r, w = os.pipe(); fcntl.fcntl(w, 1031, 4096); os.write(w, b'x' * 4096)`,
  },
  {
    name: 'pipe that keeps packets apart',
    python: "r, w = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)\nfor n in (1, 20, 4096, 3): os.write(w, b'p' * n)",
  },
  {
    name: 'pipe with one end closed',
    python: `r, w = os.pipe(); os.write(w, b'last words'); os.close(w)
r, w = os.pipe(); os.close(r)`,
  },
  {
    name: 'pipe whose ends differ in their flags',
    python: 'r, w = os.pipe(); os.set_blocking(r, False); os.set_inheritable(w, True)',
  },
  {
    name: 'pipe end opened once more',
    python: "r, w = os.pipe(); os.write(w, b'abc'); os.open(f'/proc/self/fd/{w}', os.O_WRONLY | os.O_NONBLOCK)",
  },
  {
    name: 'FIFO',
    python: `os.mkfifo(DIRECTORY + '/fifo')
r = os.open(DIRECTORY + '/fifo', os.O_RDONLY | os.O_NONBLOCK); w = os.open(DIRECTORY + '/fifo', os.O_WRONLY)
os.write(w, b'in the fifo')`,
  },
  {
    name: 'FIFO with a reader that has never had a writer, and one whose writer has gone',
    python: `os.mkfifo(DIRECTORY + '/fifo-a'); os.open(DIRECTORY + '/fifo-a', os.O_RDONLY | os.O_NONBLOCK)
os.mkfifo(DIRECTORY + '/fifo-b'); os.open(DIRECTORY + '/fifo-b', os.O_RDONLY | os.O_NONBLOCK)
w = os.open(DIRECTORY + '/fifo-b', os.O_WRONLY); os.write(w, b'left'); os.close(w)`,
  },
  {
    name: 'FIFO open for both, and one with a writer alone',
    python: `os.mkfifo(DIRECTORY + '/fifo-c'); rw = os.open(DIRECTORY + '/fifo-c', os.O_RDWR); os.write(rw, b'both')
os.mkfifo(DIRECTORY + '/fifo-d'); r = os.open(DIRECTORY + '/fifo-d', os.O_RDONLY | os.O_NONBLOCK)
os.open(DIRECTORY + '/fifo-d', os.O_WRONLY); os.close(r)`,
  },
];

const FILES: Case[] = [
  {
    name: 'regular files: position and flags',
    python: `p = DIRECTORY + '/plain'; open(p, 'w').write('0123456789')
f = os.open(p, os.O_RDONLY); os.lseek(f, 4, 0)
os.open(p, os.O_WRONLY | os.O_APPEND | os.O_SYNC); os.open(p, os.O_RDWR | os.O_NONBLOCK)
g = os.open(p, os.O_RDWR); os.lseek(g, 1 << 40, 0)
os.open(p, os.O_RDONLY | os.O_NOATIME); os.open(p, os.O_PATH)`,
  },
  { name: 'directories', python: "os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY); os.open('/', os.O_PATH)" },
  {
    name: 'unlinked files, one of them open twice',
    python: `p = DIRECTORY + '/gone'; a = os.open(p, os.O_RDWR | os.O_CREAT, 0o640); os.write(a, b'no name')
b = os.open(p, os.O_RDONLY); os.unlink(p)
p = MEMORY + '/gone-too'; c = os.open(p, os.O_RDWR | os.O_CREAT); os.write(c, os.urandom(100000)); os.unlink(p)`,
  },
  {
    name: 'a file on a file system in memory',
    python:
      "d = MEMORY + '/a/b'; os.makedirs(d); f = os.open(d + '/log', os.O_WRONLY | os.O_CREAT | os.O_APPEND); os.write(f, b'line')",
  },
  {
    name: 'files without a name from the start',
    python: `f = os.open(MEMORY, os.O_TMPFILE | os.O_RDWR, 0o640); os.write(f, b'temporary')
g = os.open(f'/proc/self/fd/{f}', os.O_RDONLY); os.read(g, 3)`,
  },
  {
    name: 'locks',
    exclusive: true,
    python: `p = DIRECTORY + '/locked'; open(p, 'w').write('x' * 100)
a = os.open(p, os.O_RDWR); fcntl.flock(a, fcntl.LOCK_SH)
b = os.open(p, os.O_RDWR); fcntl.lockf(b, fcntl.LOCK_EX, 10, 5); fcntl.lockf(b, fcntl.LOCK_SH, 0, 50)
p = DIRECTORY + '/locked-too'; open(p, 'w').write('x' * 100)
c = os.open(p, os.O_RDWR); fcntl.fcntl(c, 37, struct.pack('hhqqi4x', 1, 0, 7, 9, 0))`,
  },
  { name: 'a file of /proc', python: "f = os.open('/proc/sys/kernel/ostype', os.O_RDONLY); os.read(f, 2)" },
];

const SHARING: Case[] = [
  {
    name: 'descriptors that share a description',
    python: `e = eventfd(3); os.dup2(e, 40); os.dup2(e, 41, inheritable=False); eventfd(3)
f = os.open('/dev/null', 0); os.dup2(f, 100); os.open('/dev/null', 0); os.dup2(1, 60); os.dup2(0, 61)`,
  },
  { name: 'standard descriptors swapped', python: 'os.dup2(1, 50); os.dup2(2, 1); os.dup2(50, 2)' },
  {
    name: 'standard descriptors closed and used anew',
    python: 'os.dup2(1, 5); eventfd(1); os.dup2(eventfd(9), 2); os.close(0)',
  },
  { name: 'standard output opened once more', python: "os.open('/proc/self/fd/1', os.O_WRONLY | os.O_NONBLOCK)" },
  {
    name: 'three hundred equal descriptors',
    python: "for i in range(100): f = os.open('/dev/null', 0); os.dup(f); os.dup(f)",
  },
  { name: 'high numbers', python: 'os.dup2(eventfd(1), 1000); os.dup2(1, 700)' },
];

const EPOLL: Case[] = [
  {
    name: 'epoll of many kinds',
    python: `p = select.epoll(); r, w = os.pipe(); os.write(w, b'x')
for fd, events in ((eventfd(1), 1), (r, 1 | select.EPOLLET), (w, 4), (timerfd(1), 1 | select.EPOLLONESHOT), (signalfd([10]), 1), (1, 0)):
    p.register(fd, events)
s = udp(); keep.append(s); p.register(s.fileno(), 5 | (1 << 28))`,
  },
  {
    name: 'epoll with data of 64 bits',
    python:
      "e = eventfd(0); p = select.epoll(); call('epoll_ctl', p.fileno(), 1, e, struct.pack('=IQ', 1, 0xfedcba9876543210))",
  },
  {
    name: 'epoll inside epoll',
    python: 'a = select.epoll(); b = select.epoll(); a.register(b.fileno(), 1); b.register(eventfd(1), 1)',
  },
  {
    name: 'epoll: one description under several numbers',
    python: 'e = eventfd(1); p = select.epoll()\nfor n in (e, os.dup(e), os.dup(e)): p.register(n, 1)',
  },
  {
    name: 'epoll: a number that is closed while a duplicate lives',
    python: 'e = eventfd(1); d = os.dup(e); p = select.epoll(); p.register(e, 1); p.register(d, 4); os.close(e)',
  },
  {
    name: 'epoll: a number that means something else by now, watched too',
    python: `e = eventfd(1); d = os.dup(e); p = select.epoll(); p.register(e, 1 | select.EPOLLET)
os.dup2(eventfd(2), e); p.register(e, 4)
os.dup2(os.dup(0), 30); os.close(30)`,
  },
  {
    name: 'epoll: fired once and silent since',
    python: `p = select.epoll(); r, w = os.pipe(); s = udp(); keep.append(s); e = eventfd(1)
for n in (w, s.fileno(), e): p.register(n, 4 | select.EPOLLONESHOT)
os.write(w, b'x'); p.register(r, 1 | select.EPOLLONESHOT); assert len(p.poll(0)) == 4
d = os.dup(e); p.register(d, 1 | select.EPOLLONESHOT); assert p.poll(0); os.close(d)
p.register(eventfd(5), 1)`,
  },
  { name: 'epoll of five hundred', python: 'p = select.epoll()\nfor i in range(500): p.register(eventfd(i), 1)' },
];

const option = (level: string, name: string | number, value: string | number): string =>
  `s.setsockopt(${level}, ${name}, ${value})`;
const SOL = 'socket.SOL_SOCKET';

const SOCKETS: Case[] = [
  {
    name: 'UDP sockets: unbound, bound, connected',
    python: `a = udp(); b = udp(); b.bind(('127.0.0.1', 5006)); c = udp(); c.bind(('', 5007)); c.connect(('127.0.0.1', 9))
d = udp(); d.connect(('127.0.0.1', 10)); e = udp(); e.setblocking(False)
d.settimeout(None); keep += [a, b, c, d, e]`,
  },
  {
    name: 'UDP sockets of IPv6',
    python: `six = socket.AF_INET6
a = udp(six); b = udp(six); b.bind(('::', 5006)); c = udp(six); c.setsockopt(41, 26, 1); c.bind(('::1', 5007)); c.connect(('::1', 9))
d = udp(six); d.bind(('::ffff:127.0.0.1', 5008)); d.connect(('::ffff:127.0.0.1', 99)); keep += [a, b, c, d]`,
  },
  {
    name: 'UDP sockets on one port',
    python: `for i in range(3):
    s = udp(); ${option(SOL, 'socket.SO_REUSEPORT', 1)}; s.bind(('127.0.0.1', 6000)); keep.append(s)
for i in range(2):
    s = udp(); ${option(SOL, 'socket.SO_REUSEADDR', 1)}; s.bind(('', 6001)); keep.append(s)`,
  },
  {
    name: 'UDP socket options',
    python: `s = udp()
for n, v in ((6, 1), (5, 1), (9, 1), (10, 1), (11, 1), (36, 77), (12, 5), (40, 1), (42, 100), (45, 1), (46, 50), (60, 1), (1, 1), (18, 9)):
    s.setsockopt(1, n, v)
s.setsockopt(1, 33, 3000000); s.setsockopt(1, 32, 50000); s.setsockopt(1, 13, struct.pack('ii', 1, 5))
s.setsockopt(1, 20, struct.pack('qq', 5, 250000)); s.setsockopt(1, 21, struct.pack('qq', 0, 4000)); s.setsockopt(1, 25, b'lo')
for n, v in ((1, 0x10), (2, 9), (6, 1), (7, 1), (8, 1), (10, 3), (11, 1), (12, 1), (13, 1), (15, 1), (19, 1), (20, 1), (21, 3), (24, 1), (25, 1), (33, 17), (34, 0), (49, 0)):
    s.setsockopt(0, n, v)
s.setsockopt(0, 32, socket.inet_aton('127.0.0.1')); s.setsockopt(17, 103, 1000); s.setsockopt(17, 104, 1)
s.bind(('10.9.8.7', 5006)); keep.append(s)
s = udp(); s.setsockopt(0, 50, struct.pack('>I', 1)); keep.append(s)`,
  },
  {
    name: 'UDP socket options of IPv6',
    python: `s = udp(socket.AF_INET6)
for n, v in ((16, 7), (17, 1), (18, 9), (19, 0), (23, 3), (25, 1), (26, 1), (29, 0), (33, 1), (49, 1), (51, 1), (53, 1), (56, 1), (58, 1), (60, 1), (62, 1), (66, 1), (67, 0x20), (70, 0), (72, 1), (73, 2), (74, 1), (75, 1), (78, 1)):
    s.setsockopt(41, n, v)
s.setsockopt(17, 101, 1); s.setsockopt(17, 102, 1); s.bind(('::1', 5006)); keep.append(s)`,
  },
  {
    name: 'time stamps',
    python: `for n, v in ((29, 1), (35, 1), (63, 1), (64, 1), (37, 0x18), (65, 0x58)):
    s = udp(); s.setsockopt(1, n, v); keep.append(s)`,
  },
  {
    name: 'multicast memberships',
    python: `lo = socket.inet_aton('127.0.0.1'); s = udp(); s.bind(('', 7000))
for g in ('239.1.2.3', '224.0.0.1'): s.setsockopt(0, 35, socket.inet_aton(g) + lo)
s.setsockopt(0, 39, socket.inet_aton('232.1.1.1') + lo + socket.inet_aton('10.0.0.1'))
s.setsockopt(0, 39, socket.inet_aton('232.1.1.1') + lo + socket.inet_aton('10.0.0.2'))
s.setsockopt(0, 35, socket.inet_aton('239.9.9.9') + lo)
s.setsockopt(0, 38, socket.inet_aton('239.9.9.9') + lo + socket.inet_aton('10.0.0.3'))
t = udp(socket.AF_INET6); t.setsockopt(41, 20, socket.inet_pton(socket.AF_INET6, 'ff05::1:3') + struct.pack('I', 1)); keep += [s, t]`,
  },
  {
    name: 'UDP socket with a filter',
    python: `prog = struct.pack('HBBI', 0x06, 0, 0, 0xffff); buf = ctypes.create_string_buffer(prog)
s = udp(); s.setsockopt(1, 26, struct.pack('HxxxxxxQ', 1, ctypes.addressof(buf))); s.setsockopt(1, 44, 1); keep.append(s)`,
  },
  {
    name: 'UDP socket that was shut down',
    python: `for how in (0, 2):
    s = udp(); s.connect(('127.0.0.1', 9)); s.shutdown(how); keep.append(s)
s = udp(); s.bind(('127.0.0.1', 4000)); keep.append(s)
try: s.shutdown(0)
except OSError: pass`,
  },
  {
    name: 'TCP sockets without a connection',
    python: `a = socket.socket(); b = socket.socket(); b.bind(('127.0.0.1', 8000)); c = socket.socket()
c.setsockopt(1, 2, 1); c.setsockopt(6, 1, 1); c.setsockopt(6, 9, 5); c.setsockopt(6, 23, 16); c.bind(('', 8001)); c.listen(33)
d = socket.socket(socket.AF_INET6); d.bind(('::1', 8002)); d.listen(5); d.setblocking(False); keep += [a, b, c, d]`,
  },
];

const UNIX: Case[] = [
  {
    name: 'pairs of unix sockets',
    python: `un = socket.AF_UNIX
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    a, b = socket.socketpair(un, kind); keep += [a, b]
    for n in (1, 30, 4000): a.send(b'x' * n); b.send(b'y' * n)
    b.setblocking(False); a.setsockopt(1, 16, 0); a.setsockopt(1, 42, 7)`,
  },
  {
    name: 'unix sockets whose other end is closed',
    python: `for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    a, b = socket.socketpair(socket.AF_UNIX, kind); b.send(b'last words'); b.close(); keep.append(a)`,
  },
  {
    name: 'unix sockets that were never connected, and half closed ones',
    python: `a = socket.socket(socket.AF_UNIX); b = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); keep += [a, b]
for how in (0, 1, 2):
    c, d = socket.socketpair(); d.send(b'abc'); c.shutdown(how); keep += [c, d]`,
  },
  {
    name: 'full pair of sockets',
    python: `a, b = socket.socketpair(); a.setsockopt(1, 32, 1 << 20); a.setblocking(False); keep += [a, b]
try:
    while True: a.send(os.urandom(50000))
except BlockingIOError: pass
a.setblocking(True)`,
  },
];

const NETLINK: Case[] = [
  {
    name: 'netlink sockets of routes',
    python: `a = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); b = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 0); b.bind((0, 0x51))
c = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0); c.setsockopt(1, 33, 900000); c.bind((77, 1))
c.setsockopt(270, 1, 36)
for n in (3, 5, 10, 11, 12): c.setsockopt(270, n, 1)
keep += [a, b, c]`,
  },
];

const INOTIFY: Case[] = [
  {
    name: 'inotify',
    python: `i = call('inotify_init1', os.O_NONBLOCK); call('inotify_init')
def watch(path, mask): return call('inotify_add_watch', i, path.encode(), mask)
open(DIRECTORY + '/watched', 'w').close(); os.symlink('watched', DIRECTORY + '/link'); os.mkdir(MEMORY + '/sub')
watch(DIRECTORY, 0x100); libc.inotify_rm_watch(i, watch(MEMORY, 0x8)); os.read(i, 4096)
watch(MEMORY + '/sub', 0xfff); watch(DIRECTORY + '/watched', 0x84000002); watch(DIRECTORY + '/link', 0x02000004); watch('/', 2)
p = select.epoll(); p.register(i, 1)`,
  },
];

export const CASES: readonly Case[] = [
  ...BASIC,
  ...TIMERS,
  ...PIPES,
  ...FILES,
  ...SHARING,
  ...EPOLL,
  ...SOCKETS,
  ...UNIX,
  ...NETLINK,
  ...INOTIFY,
];
