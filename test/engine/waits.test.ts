/** Needs root. No system call that a process waits in ends because of a freeze or a move. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needs } from '../support/needs.ts';
import { PYTHON, program } from './support/cage.ts';
import { open, Resident } from './support/engine.ts';

const skip = needs('root', 'unshare', 'nsenter', 'python3', 'ip');
const PORT = 7104;

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

const PREPARE = `
import select
long = lambda *words: (ctypes.c_long * len(words))(*words)
epoll = select.epoll()
events = (ctypes.c_char * 120)()
def waiting_socket(kind):
 s = socket.socket(socket.AF_INET, kind)
 s.bind(("127.0.0.1", 0))
 if kind == socket.SOCK_STREAM: s.listen(4)
 s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bytes(long(1, 200000)))
 return s
udp = [waiting_socket(socket.SOCK_DGRAM) for _ in range(4)]
tcp = waiting_socket(socket.SOCK_STREAM)
room = ctypes.create_string_buffer(100)
word = ctypes.c_int(5)
pipe = os.pipe()
signals = long(1 << 44)
semaphores = libc.semget(0, 1, 0o600)
def deadline(clock, seconds):
 at = time.clock_gettime(clock) + seconds
 return long(int(at), int(at % 1 * 1e9))
`;

/** The call, what it gives in the end, and whether it needs what a move does not take along. */
const WAITS: Readonly<Record<string, readonly [call: string, result: string, sourceOnly?: true]>> = {
  epoll_wait: ['c("epoll_wait", epoll.fileno(), events, 1, 1200)', '0'],
  epoll_pwait: ['c("epoll_pwait", epoll.fileno(), events, 1, 1200, signals)', '0'],
  epoll_pwait2: ['c("syscall", 441, epoll.fileno(), events, 1, long(1, 200000000), signals, 8)', '0'],
  recvfrom: ['c("recv", udp[0].fileno(), room, 100, 0)', "'EAGAIN'"],
  recvmsg: ['c("recvmsg", udp[1].fileno(), long(0, 0, 0, 0, 0, 0, 0), 0)', "'EAGAIN'"],
  recvmmsg: ['c("recvmmsg", udp[2].fileno(), events, 1, 0, None)', "'EAGAIN'"],
  read: ['c("read", udp[3].fileno(), room, 100)', "'EAGAIN'"],
  accept: ['c("accept", tcp.fileno(), None, None)', "'EAGAIN'"],
  semtimedop: ['c("semtimedop", semaphores, long(0xffff << 16), 1, long(1, 200000000))', "'EAGAIN'", true],
  rt_sigtimedwait: ['c("sigtimedwait", signals, None, long(1, 200000000))', "'EAGAIN'"],
  nanosleep: ['c("nanosleep", long(1, 200000000), None)', '0'],
  clock_nanosleep: ['c("clock_nanosleep", 1, 1, deadline(1, 1.2), None)', '0'],
  poll: ['c("poll", None, 0, 1200)', '0'],
  ppoll: ['c("ppoll", None, 0, long(1, 200000000), signals)', '0'],
  select: ['c("select", 0, None, None, None, long(1, 200000))', '0'],
  futex: ['c("syscall", 202, ctypes.byref(word), 128, 5, long(1, 200000000), None, 0)', "'ETIMEDOUT'"],
  'futex with a deadline': [
    'c("syscall", 202, ctypes.byref(word), 137, 5, deadline(1, 1.2), None, 0xffffffff)',
    "'ETIMEDOUT'",
  ],
};
const FOREVER: Readonly<Record<string, string>> = {
  pause: 'c("pause")',
  sigsuspend: 'c("sigsuspend", signals)',
  'read from a pipe': 'c("read", pipe[0], room, 1)',
  'epoll_wait without a timeout': 'c("epoll_wait", epoll.fileno(), events, 1, -1)',
  'futex without a timeout': 'c("syscall", 202, ctypes.byref(word), 128, 5, None, None, 0)',
};

async function start(resident: Resident, sourceToo: boolean): Promise<string[]> {
  await resident.cage.askUntilAnswered(PORT, '1');
  assert.equal(resident.cage.ask(PORT, PREPARE), 'None');
  const names = Object.keys(WAITS).filter((name) => sourceToo || WAITS[name]![2] !== true);
  const calls = [...names.map((name) => [name, WAITS[name]![0]]), ...Object.entries(FOREVER)];
  const script = calls.map(([name, call]) => `background("${name}", lambda: ${call})`).join('\n');
  assert.equal(resident.cage.ask(PORT, script), 'None');
  await pause(100);
  return names;
}

async function check(resident: Resident, names: readonly string[]): Promise<void> {
  for (let tries = 0; tries < 100 && resident.cage.ask(PORT, 'len(results)') !== String(names.length); tries++)
    await pause(50);
  for (const name of names) {
    const outcome = resident.cage.ask(PORT, `results.get("${name}")`);
    assert.equal(outcome?.replace(/^\((.*), [\d.]+\)$/, '$1'), WAITS[name]![1], `${name} gave ${outcome}`);
    assert.ok(Number(/([\d.]+)\)$/.exec(outcome!)![1]) > 1.1, `${name} ended too early: ${outcome}`);
  }
  for (const name of Object.keys(FOREVER))
    assert.equal(resident.cage.ask(PORT, `results.get("${name}")`), 'None', name);
  assert.equal(resident.cage.ask(PORT, 'threading.active_count()'), String(1 + Object.keys(FOREVER).length));
}

test('no wait ends at a freeze, and none at the next one', { skip }, async () => {
  await using resident = await Resident.start([PYTHON, program('repl.py'), String(PORT)]);
  const names = await start(resident, true);
  using source = open(resident.pid);
  for (let round = 0; round < 3; round++) {
    source.freeze().resume();
    await pause(50);
  }
  await check(resident, names);
});

test('a wait that is frozen again and again ends all the same', { skip }, async () => {
  await using resident = await Resident.start([PYTHON, program('repl.py'), String(PORT)]);
  await resident.cage.askUntilAnswered(PORT, '1');
  const calls = ['epoll_wait', 'epoll_pwait', 'poll', 'nanosleep', 'select'];
  const script = calls.map((name) => `background("${name}", lambda: ${WAITS[name]![0]})`).join('\n');
  assert.equal(resident.cage.ask(PORT, `${PREPARE}\n${script}`), 'None');
  await pause(100);
  using source = open(resident.pid);
  const snapshot = (): void => source.snapshot().close();
  const freeze = (): void => source.freeze().resume();
  // Each pause is shorter than the waits, all together are much longer.
  for (let round = 0; round < 12; round++) {
    (round % 2 === 0 ? snapshot : freeze)();
    await pause(300);
  }
  for (const name of calls)
    assert.equal(resident.cage.ask(PORT, `results.get("${name}", [None])[0]`), '0', `${name} has not ended`);
});

test('no wait ends at a move, and none at the next one', { skip }, async () => {
  await using resident = await Resident.start([PYTHON, program('repl.py'), String(PORT)]);
  const names = await start(resident, false);
  await resident.move();
  await resident.move();
  await check(resident, names);
});

test('a wait that a freeze finds in its second half is moved as what it is', { skip }, async () => {
  await using resident = await Resident.start([PYTHON, program('repl.py'), String(PORT)]);
  const names = await start(resident, false);
  // After the first freeze the kernel goes on from its restart block, under the number of restart_syscall.
  {
    using source = open(resident.pid);
    source.freeze().resume();
  }
  await pause(50);
  await resident.move();
  await check(resident, names);
});
