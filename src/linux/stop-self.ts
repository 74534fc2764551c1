import { syscall } from './libc.ts';
import { SIGNAL } from './signals.ts';
import { SYS } from './syscall-numbers.ts';

/**
 * Stops this whole process, as SIGSTOP from outside does. The signal goes to the calling thread, which acts on it before
 * it comes back from the system call: nothing is done between this line and the next until somebody sends SIGCONT.
 */
export function stopOwnProcess(): void {
  syscall('tgkill SIGSTOP', SYS.tgkill, process.pid, syscall('gettid', SYS.gettid), SIGNAL.STOP);
}
