/** Needs root. Everything that a process is made of is the same after a move, one kind after the other. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { decodeProcessImage, encodeProcessImage } from '../../src/image/codec.ts';
import { readStatus } from '../../src/linux/procfs.ts';
import { beginRestore } from '../../src/restore/begin-restore.ts';
import { needs } from '../support/needs.ts';
import { Cage, PYTHON, program } from './support/cage.ts';
import { describeProcess } from './support/describe.ts';
import { facts, files, open, Resident, readAllPages, restore, untilStopped } from './support/engine.ts';

const skip = needs('root', 'unshare', 'nsenter', 'python3', 'ip');
const PORT = 7102;

describe('the state of a process', { skip }, () => {
  let resident: Resident;
  beforeEach(async () => {
    resident = await Resident.start([PYTHON, program('repl.py'), String(PORT)], {
      environment: { FIRST: 'one', SECOND: 'two' },
      directory: '/tmp',
    });
    await resident.cage.askUntilAnswered(PORT, '1');
  });
  afterEach(async () => {
    await resident[Symbol.asyncDispose]();
  });
  const ask = (text: string): string => resident.cage.ask(PORT, text, 5000) ?? 'no answer';
  /** Brings the process into a state, moves it, and asks the question again. */
  const keeps = async (prepare: string, question: string, expected?: string): Promise<void> => {
    assert.equal(ask(prepare), 'None');
    const told = ask(question);
    if (expected !== undefined) assert.equal(told, expected);
    await resident.move();
    assert.equal(ask(question), told);
  };

  test('threads, memory areas with flags and contents, and all that procfs shows', async () => {
    const prepare = [
      'import mmap',
      'signal.signal(signal.SIGUSR1, lambda *_: results.__setitem__("usr1", True))',
      'signal.signal(signal.SIGPIPE, signal.SIG_IGN)',
      'signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, 40])',
      'gate = threading.Event()',
      'for i in range(5): background(f"waiter {i}", gate.wait)',
      'area = mmap.mmap(-1, 1 << 22, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)',
      'area[1 << 20:(1 << 20) + 5] = b"hello"',
      'area.madvise(mmap.MADV_DONTFORK, 0, 1 << 20)',
      'area.madvise(18, 3 << 20, 1 << 20)',
      'area.madvise(mmap.MADV_HUGEPAGE, 1 << 21, 1 << 20)',
      'os.umask(0o027)',
      'os.environ["LATER"] = "x"',
    ].join('\n');
    assert.equal(ask(prepare), 'None');
    await using next = await Cage.make();
    using source = open(resident.pid);
    const frozen = source.freeze();
    // Where the kernel notes the CPU that a thread is on.
    const changing = decodeProcessImage(frozen.image).threads.map(({ rseq }) => rseq);
    const before = describeProcess(resident.pid, changing);
    const restoring = await restore(frozen, next);
    await untilStopped(restoring.pid);
    const after = describeProcess(restoring.pid, changing);
    restoring.destroy();
    frozen.resume();
    assert.deepEqual(after, before);
    assert.equal(ask('len([t for t in threading.enumerate() if t.is_alive()])'), '6');
  });

  test('signals that the hatchery ignores and the process does not', async () => {
    const ignored = (pid: number): string => readStatus(pid).text('SigIgn');
    await using next = await Cage.make();
    const hatchery = await next.start(['/usr/bin/env', '--ignore-signal=HUP,CHLD', 'sleep', 'infinity'], {}, 20_000);
    while (readStatus(hatchery).text('Name') !== 'sleep') await new Promise((resolve) => setTimeout(resolve, 1));
    assert.notEqual(ignored(hatchery), ignored(resident.pid));
    using source = open(resident.pid);
    const frozen = source.freeze();
    const restoring = beginRestore(frozen.image, hatchery, { facts, files });
    assert.equal(ignored(restoring.pid), ignored(resident.pid));
    restoring.destroy();
    frozen.resume();
  });

  test('clocks, on a machine that has been up for another time', async () => {
    const monotonic = (): number => Number(ask('time.monotonic()'));
    const deadline = '(ctypes.c_long * 2)(int(time.monotonic()) + 3, 0)';
    assert.equal(
      ask(`until = ${deadline}\nbackground("sleep", lambda: c("clock_nanosleep", 1, 1, until, None))`),
      'None',
    );
    const before = monotonic();
    const next = await Cage.make();
    await using moved = Resident.in(next);
    const hatchery = await next.hatchery();
    using source = open(resident.pid);
    const frozen = source.freeze();
    // As if the source had been up for an hour longer than it has.
    const whole = decodeProcessImage(frozen.image);
    const hour = 3_600_000_000_000n;
    const { monotonicNanos, boottimeNanos } = whole.platform;
    const platform = { ...whole.platform, monotonicNanos: monotonicNanos + hour, boottimeNanos: boottimeNanos + hour };
    const restoring = beginRestore(encodeProcessImage({ ...whole, platform }), hatchery, { facts, files });
    restoring.writePages(frozen.pages, readAllPages(frozen));
    restoring.finish();
    restoring.run();
    frozen.kill();
    const passed = (): number => Number(next.ask(PORT, 'time.monotonic()')) - before - 3600;
    assert.ok(passed() > 0 && passed() < 5, `${passed()} s`);
    assert.equal(next.ask(PORT, 'results["sleep"][0]'), '0');
    // From here on by themselves.
    moved.pid = restoring.pid;
    await moved.move();
    const later = Number(moved.cage.ask(PORT, 'time.monotonic()')) - before - 3600;
    assert.ok(later > 0 && later < 10, `${later} s`);
  });

  test('limits, nice value, OOM score, personality, timer slack, subreaper, dumpable', () =>
    keeps(
      [
        'import resource',
        'resource.setrlimit(resource.RLIMIT_CORE, (0, 4096))',
        'resource.setrlimit(resource.RLIMIT_NOFILE, (512, 1000))',
        'os.setpriority(os.PRIO_PROCESS, 0, 3)',
        'open("/proc/self/oom_score_adj", "w").write("321")',
        'libc.personality(0x0040000)',
        'libc.prctl(29, 70000)',
        'libc.prctl(36, 1)',
        'libc.prctl(4, 0)',
        'libc.prctl(1, 12)',
        'def get(option):\n n = ctypes.c_int()\n libc.prctl(option, ctypes.byref(n))\n return n.value',
      ].join('\n'),
      '(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NOFILE), ' +
        'os.getpriority(os.PRIO_PROCESS, 0), open("/proc/self/oom_score_adj").read(), libc.personality(-1), libc.prctl(30), get(37), libc.prctl(3), get(2))',
      "((0, 4096), (512, 1000), 3, '321\\n', 262144, 70000, 1, 0, 12)",
    ));

  test('memory that it maps and releases afterwards, and its heap', async () => {
    await keeps('end = libc.sbrk; end.restype = ctypes.c_void_p; grown = [libc.sbrk(8192)]', 'libc.sbrk(0)');
    assert.equal(ask('grown.append(libc.sbrk(1 << 20)) or libc.sbrk(0) - grown[1]'), String(1 << 20));
  });

  test('an alternate signal stack, with a handler on it', async () => {
    await keeps(
      [
        'import faulthandler',
        'class Stack(ctypes.Structure): _fields_ = [("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]',
        'room = ctypes.create_string_buffer(65536)',
        'libc.sigaltstack(ctypes.byref(Stack(ctypes.addressof(room), 0, 65536)), None)',
        'def stack():\n now = Stack()\n libc.sigaltstack(None, ctypes.byref(now))\n return (now.sp == ctypes.addressof(room), now.flags, now.size)',
      ].join('\n'),
      'stack()',
      '(True, 0, 65536)',
    );
  });

  test('signals that wait, for the process and for a thread, with what they carry', async () => {
    const prepare = [
      'signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP, 41, 42])',
      'libc.sigqueue.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]',
      'libc.sigqueue(os.getpid(), 41, 1234567)',
      'libc.sigqueue(os.getpid(), 41, 7654321)',
      'signal.pthread_kill(threading.get_ident(), 42)',
      'os.kill(os.getpid(), signal.SIGHUP)',
    ].join('\n');
    assert.equal(ask(prepare), 'None');
    await resident.move();
    assert.equal(ask('sorted(int(s) for s in signal.sigpending())'), '[1, 41, 42]');
    const take =
      '[(i.si_signo, i.si_code) for i in (signal.sigtimedwait([n], 0) for n in (1, 41, 41, 42))] + [signal.sigtimedwait([41], 0)]';
    assert.equal(ask(take), '[(1, 0), (41, -1), (41, -1), (42, 0), None]');
  });

  test('interval timers and POSIX timers, with their ids', async () => {
    const prepare = [
      'fired = []',
      'signal.signal(signal.SIGALRM, lambda *_: fired.append("real"))',
      'signal.signal(43, lambda *_: fired.append("posix"))',
      'signal.setitimer(signal.ITIMER_REAL, 0.8, 0)',
      'signal.setitimer(signal.ITIMER_VIRTUAL, 1000, 5)',
      'class Event(ctypes.Structure): _fields_ = [("value", ctypes.c_ulong), ("signo", ctypes.c_int), ("notify", ctypes.c_int), ("tid", ctypes.c_int), ("pad", ctypes.c_char * 44)]',
      'def timer(notify, signo, seconds, every):',
      ' made = ctypes.c_int()',
      ' libc.syscall(222, 1, ctypes.byref(Event(99, signo, notify, threading.get_native_id())), ctypes.byref(made))',
      ' spec = (ctypes.c_long * 4)(every, 0, seconds, 0)',
      ' libc.syscall(223, made.value, 0, spec, None)',
      ' return made.value',
      'first = timer(0, 44, 500, 0)',
      'second = timer(0, 43, 1, 1)',
      'libc.syscall(226, first)',
      'third = timer(4, 44, 400, 7)',
      'def left(which):',
      ' spec = (ctypes.c_long * 4)()',
      ' return (libc.syscall(224, which, spec), spec[0], spec[2] + spec[3] > 0)',
    ].join('\n');
    assert.equal(ask(prepare), 'None');
    const timers = ask('open("/proc/self/timers").read()');
    assert.match(timers, /ID: 2.*ID: 1/);
    await resident.move();
    assert.equal(ask('open("/proc/self/timers").read()'), timers);
    assert.equal(ask('[left(first)[0], left(second), left(third)]'), '[-1, (0, 1, True), (0, 7, True)]');
    assert.match(ask('signal.getitimer(signal.ITIMER_VIRTUAL)'), /^\((?:99\d|1000)\.\d+, 5\.0\)$/);
    for (let tries = 0; tries < 40 && ask('len(set(fired))') !== '2'; tries++) ask('time.sleep(0.1)');
    assert.equal(ask('sorted(set(fired))'), "['posix', 'real']");
    assert.equal(ask('timer(0, 44, 1000, 0)'), '3');
    ask('libc.syscall(226, second); signal.setitimer(signal.ITIMER_VIRTUAL, 0)');
  });

  test('seccomp filters, in addition to those of the sandbox', () =>
    keeps(
      [
        'libc.prctl(38, 1, 0, 0, 0)',
        // Allows no prctl, sigaltstack, timer or getrandom call: the engine itself needs the first two.
        'numbers = [157, 131, 222, 223, 318]',
        'import struct',
        'code = struct.pack("HBBI", 0x20, 0, 0, 0)',
        'for i, n in enumerate(numbers): code += struct.pack("HBBI", 0x15, len(numbers) - i, 0, n)',
        'code += struct.pack("HBBI", 6, 0, 0, 0x7fff0000) + struct.pack("HBBI", 6, 0, 0, 0x50000 | 95)',
        'room = ctypes.create_string_buffer(code, len(code))',
        'libc.syscall(317, 1, 0, struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(room)))',
      ].join('\n'),
      '[c("prctl", 3), c("syscall", 318, 0, 0, 0), [l for l in open("/proc/self/status") if l[:7] == "Seccomp"]]',
      "['ENOTSUP', 'ENOTSUP', ['Seccomp:\\t2\\n', 'Seccomp_filters:\\t2\\n']]",
    ));

  test('credentials, capabilities and securebits', () =>
    keeps(
      [
        'libc.prctl(8, 1)',
        'os.setgroups([7, 8])',
        'os.setresgid(101, 102, 103)',
        'os.setresuid(201, 202, 203)',
        // CAP_NET_BIND_SERVICE and CAP_NET_RAW permitted, the first inheritable and ambient too.
        'libc.syscall(126, ctypes.byref((ctypes.c_uint32 * 2)(0x20080522, 0)), ctypes.byref((ctypes.c_uint32 * 6)(0x400, 0x2400, 0x400, 0, 0, 0)))',
        'libc.prctl(47, 2, 10, 0, 0)',
        'libc.prctl(38, 1, 0, 0, 0)',
      ].join('\n'),
      '(os.getresuid(), os.getresgid(), os.getgroups(), libc.prctl(27), [l for l in open("/proc/self/status") if l[:3] == "Cap" or l[:5] == "NoNew"])',
    ));
});
