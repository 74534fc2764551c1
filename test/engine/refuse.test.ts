/** Needs root. What cannot be moved is refused by name, and the process has not been touched. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { ComicranError } from '../../src/base/errors.ts';
import { sendSignal } from '../../src/linux/pidfd.ts';
import { readProc, readStatus } from '../../src/linux/procfs.ts';
import * as ptrace from '../../src/linux/ptrace.ts';
import { waitThread } from '../../src/linux/wait.ts';
import { needs } from '../support/needs.ts';
import { Cage, PYTHON, program } from './support/cage.ts';
import { open, Resident } from './support/engine.ts';

const skip = needs('root', 'unshare', 'nsenter', 'python3', 'ip');
const PORT = 7106;

/** What brings a process into a state, and what a refusal of that says. */
const CASES: Readonly<Record<string, readonly [prepare: string, message: RegExp]>> = {
  'a child process': ['if os.fork() == 0: time.sleep(100)', /it has child processes \(\d+\)/],
  'a zombie': ['if os.fork() == 0: os._exit(0)', /it has child processes/],
  'shared anonymous memory': ['import mmap; m = mmap.mmap(-1, 8192)', /shared anonymous memory at 0x[0-9a-f]+/],
  'a memory file': [
    'import mmap; f = os.memfd_create("x"); os.ftruncate(f, 4096); m = mmap.mmap(f, 4096); os.close(f)',
    /a mapping of a memory file/,
  ],
  'a file mapped for writing': [
    'import mmap; f = open("/tmp/comicran-refuse", "w+b"); f.truncate(4096); m = mmap.mmap(f.fileno(), 4096); f.close()',
    /a shared writable mapping of a file at .*\/tmp\/comicran-refuse/,
  ],
  'a deleted file': [
    'import mmap; f = open("/tmp/comicran-deleted", "w+b"); f.truncate(4096); m = mmap.mmap(f.fileno(), 4096, mmap.MAP_PRIVATE); f.close(); os.unlink("/tmp/comicran-deleted")',
    /a mapping of a deleted file at .*\/tmp\/comicran-deleted/,
  ],
  'System V shared memory': [
    'libc.shmat.restype = ctypes.c_void_p; at = libc.shmat(libc.shmget(0, 4096, 0o600), None, 0)',
    /System V shared memory/,
  ],
  'memory of a driver': [
    'libc.mmap.restype = ctypes.c_void_p; n = ctypes.c_ulong(); libc.syscall(206, 8, ctypes.byref(n))',
    /\/\[aio\]/,
  ],
  userfaultfd: [
    'import struct, mmap, fcntl\nm = mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n' +
      'u = libc.syscall(323, 0x80000)\nfcntl.ioctl(u, 0xc018aa3f, struct.pack("QQQ", 0xaa, 0, 0))\n' +
      'a = ctypes.addressof(ctypes.c_char.from_buffer(m))\nfcntl.ioctl(u, 0xc020aa00, struct.pack("QQQQ", a, 8192, 1, 0))',
    /memory registered with userfaultfd/,
  ],
  'a working directory that is gone': [
    'os.mkdir("/tmp/comicran-gone"); os.chdir("/tmp/comicran-gone"); os.rmdir("/tmp/comicran-gone")',
    /its working directory \/tmp\/comicran-gone \(deleted\) is not there any more/,
  ],
  'another root directory': ['os.chroot("/usr")', /it has changed its root directory/],
  'a thread with a directory of its own': [
    'background("x", lambda: (libc.unshare(0x200), time.sleep(100))); time.sleep(0.1)',
    /thread \d+ has a working directory of its own/,
  ],
  'a thread with descriptors of its own': [
    'background("x", lambda: (libc.unshare(0x400), time.sleep(100))); time.sleep(0.1)',
    /has a descriptor table of its own/,
  ],
  'a thread in another network': [
    'background("x", lambda: (libc.unshare(0x40000000), time.sleep(100))); time.sleep(0.1)',
    /thread \d+ is in another net namespace/,
  ],
  'another PID namespace for children': ['x = libc.unshare(0x20000000)', /another pid namespace for its children/],
  'a network of its own': ['x = libc.unshare(0x40000000)', /its net namespace is not the sandbox's/],
  'a timer on the CPU time of a thread': [
    'class Event(ctypes.Structure): _fields_ = [("value", ctypes.c_ulong), ("signo", ctypes.c_int), ("notify", ctypes.c_int), ("pad", ctypes.c_char * 48)]\n' +
      'clock = time.pthread_getcpuclockid(threading.get_ident())\nlibc.syscall(222, clock, ctypes.byref(Event(0, 40, 0)), ctypes.byref(ctypes.c_int()))',
    /timer 0 on clock -\d+/,
  ],
  'a terminal': ['m, s = os.openpty(); import fcntl; fcntl.ioctl(s, 0x540e, 0)', /it has a controlling terminal/],
};

function refusal(pid: number, init: number): ComicranError {
  try {
    using source = open(pid, { sandboxInit: init });
    source.freeze().resume();
  } catch (error) {
    assert.ok(error instanceof ComicranError, String(error));
    return error;
  }
  throw new assert.AssertionError({ message: 'it was not refused' });
}

describe('refused', { skip }, () => {
  for (const [name, [prepare, message]] of Object.entries(CASES))
    test(name, async () => {
      await using resident = await Resident.start([PYTHON, program('repl.py'), String(PORT)], { directory: '/tmp' });
      await resident.cage.askUntilAnswered(PORT, '1');
      assert.equal(resident.cage.ask(PORT, prepare), 'None');
      const maps = readProc(resident.pid, 'maps');
      const error = refusal(resident.pid, resident.cage.init);
      assert.equal(error.code, 'process.unsupported');
      assert.match(error.message, message);
      assert.equal(readProc(resident.pid, 'maps'), maps);
      assert.equal(readStatus(resident.pid).number('TracerPid'), 0);
      assert.equal(resident.cage.ask(PORT, '1 + 1'), '2');
    });

  test('a process that is stopped', async () => {
    await using resident = await Resident.start(['/usr/bin/sleep', '1000']);
    sendSignal(resident.pid, 19);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.match(refusal(resident.pid, resident.cage.init).message, /it is stopped by a signal/);
    assert.match(readStatus(resident.pid).text('State'), /^T \(stopped/);
  });

  test('a process that is traced', async () => {
    await using resident = await Resident.start(['/usr/bin/sleep', '1000']);
    ptrace.seize(resident.pid);
    const { message } = refusal(resident.pid, resident.cage.init);
    assert.match(message, new RegExp(`thread ${resident.pid} is traced by process ${process.pid}`));
    ptrace.interrupt(resident.pid);
    waitThread(resident.pid);
    ptrace.detach(resident.pid);
  });

  test('a process that has ended', async () => {
    await using resident = await Resident.start(['/usr/bin/sleep', '0.05']);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.match(refusal(resident.pid, resident.cage.init).code, /^process\.(gone|unsupported)$/);
  });

  test('everything that is wrong is named at once', async () => {
    await using resident = await Resident.start([PYTHON, program('repl.py'), String(PORT)], { directory: '/tmp' });
    await resident.cage.askUntilAnswered(PORT, '1');
    assert.equal(resident.cage.ask(PORT, 'import mmap; m = mmap.mmap(-1, 8192); os.chroot("/usr")'), 'None');
    const { message } = refusal(resident.pid, resident.cage.init);
    assert.match(message, /changed its root directory.*shared anonymous memory/);
  });
});

test('nothing of these tests is left', { skip }, () => {
  execFileSync('rm', ['-f', '/tmp/comicran-refuse', '/tmp/comicran-deleted']);
  assert.ok(Cage.name);
});
