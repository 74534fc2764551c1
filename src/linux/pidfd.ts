/** Process descriptors: pidfd_open(2), pidfd_getfd(2), pidfd_send_signal(2). */
import { EINTR, KernelError } from './errno.ts';
import { syscall, trySyscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

/** The caller closes it with {@link closeDescriptor}. @throws KernelError ESRCH: no such process. */
export function openPidfd(pid: number): number {
  return syscall(`pidfd_open of process ${pid}`, SYS.pidfd_open, pid, 0);
}

/** A copy of another process's descriptor: the same open file description. The caller closes it. */
export function duplicateFrom(pidfd: number, descriptor: number): number {
  return syscall(`pidfd_getfd of descriptor ${descriptor}`, SYS.pidfd_getfd, pidfd, descriptor, 0);
}

/** As {@link duplicateFrom} for a single one. */
export function getDescriptor(pid: number, descriptor: number): number {
  const pidfd = openPidfd(pid);
  try {
    return duplicateFrom(pidfd, descriptor);
  } finally {
    closeDescriptor(pidfd);
  }
}

/** Closes what a system call returned; Node's fs would complain in a worker about a descriptor that it did not open. */
export function closeDescriptor(descriptor: number): void {
  trySyscall(SYS.close, descriptor);
}

/** @throws KernelError ESRCH: the process has ended. */
export function signalProcess(pidfd: number, signal: number): void {
  syscall(`signal ${signal} to a process`, SYS.pidfd_send_signal, pidfd, signal, null, 0);
}

export function sendSignal(pid: number, signal: number): void {
  syscall(`signal ${signal} to process ${pid}`, SYS.kill, pid, signal);
}

const POLLIN = 1;

/** Waits until a process has ended; it may be a zombie then. @returns false when the time was over first. */
export function awaitExit(pidfd: number, timeoutMs: number): boolean {
  const entry = Buffer.alloc(8);
  entry.writeInt32LE(pidfd, 0);
  entry.writeInt16LE(POLLIN, 4);
  const untilMs = performance.now() + timeoutMs;
  for (;;) {
    const ready = trySyscall(SYS.poll, entry, 1, Math.max(0, Math.ceil(untilMs - performance.now())));
    if (ready >= 0) return ready > 0;
    if (ready !== -EINTR) throw new KernelError('poll a process', -ready);
  }
}
