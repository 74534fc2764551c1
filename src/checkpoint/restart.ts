/**
 * How a system call that a freeze has cut short goes on.
 *
 * A thread that waits in the kernel is woken by the interrupt of a freeze. Most calls then leave an internal code in rax,
 * and the kernel itself restarts them when the thread is let go. Some do not:
 *
 * - calls that the kernel never restarts return a real EINTR, as signal(7) describes for stop signals. They are issued
 *   again: rip goes back over the two bytes of `syscall`, rax takes the number again.
 * - ERESTART_RESTARTBLOCK keeps the rest of a relative timeout in a block of the thread that no other thread can be given.
 *   At the source the kernel goes on from it. In a restored thread the call is issued again, its timeout from the start.
 *
 * Where a signal waits that the thread has a handler for, the EINTR is one that the program would have seen anyway.
 */
import type { Registers } from '../linux/registers.ts';
import { SYS } from '../linux/syscall-numbers.ts';

const EINTR = -4n;
/** include/linux/errno.h; never seen by a program. */
const ERESTART_RESTARTBLOCK = -516n;

const NEVER_RESTARTED: ReadonlySet<number> = new Set([
  SYS.epoll_wait,
  SYS.epoll_pwait,
  SYS.epoll_pwait2,
  SYS.semop,
  SYS.semtimedop,
  SYS.rt_sigtimedwait,
  // Sockets with SO_RCVTIMEO or SO_SNDTIMEO, and recvmmsg with its own timeout. Nothing has been transferred yet:
  // otherwise the call would have returned how much.
  SYS.read,
  SYS.readv,
  SYS.recvfrom,
  SYS.recvmsg,
  SYS.recvmmsg,
  SYS.accept,
  SYS.accept4,
  SYS.write,
  SYS.writev,
  SYS.sendto,
  SYS.sendmsg,
  SYS.sendmmsg,
  SYS.io_getevents,
  SYS.io_pgetevents,
]);

/** The calls that use a restart block: kernel/futex, fs/select.c, kernel/time. */
const WITH_RESTART_BLOCK: ReadonlySet<number> = new Set([SYS.nanosleep, SYS.clock_nanosleep, SYS.poll, SYS.futex]);

function issueAgain(registers: Registers, number: bigint): void {
  registers
    .set('rax', number)
    .set('orig_rax', -1n)
    .set('rip', registers.get('rip') - 2n);
}

/**
 * Makes the registers of a frozen thread such that it can be let go at the source.
 *
 * @param signalWaits a signal waits that the thread does not block and has a handler for.
 * @returns whether anything had to be changed.
 */
export function prepareResume(registers: Registers, signalWaits: () => boolean): boolean {
  const number = registers.getSigned('orig_rax');
  if (registers.getSigned('rax') !== EINTR || !NEVER_RESTARTED.has(Number(number)) || signalWaits()) return false;
  issueAgain(registers, number);
  return true;
}

/**
 * Makes registers that {@link prepareResume} has seen such that another thread can go on with them.
 *
 * @param interrupted the number of the call that the thread is in where the registers do not tell (`restart_syscall`).
 */
export function prepareRestore(registers: Registers, signalWaits: boolean, interrupted: number | null): void {
  const original = Number(registers.getSigned('orig_rax'));
  if (original < 0 || registers.getSigned('rax') !== ERESTART_RESTARTBLOCK) return;
  const number = original === SYS.restart_syscall ? interrupted : original;
  if (signalWaits || number === null) registers.set('rax', EINTR).set('orig_rax', -1n);
  else issueAgain(registers, BigInt(number));
}

/** Whether the registers tell which call the thread is in: not when it was cut short before and goes on from its block. */
export function isRestartedCall(registers: Registers): boolean {
  return (
    Number(registers.getSigned('orig_rax')) === SYS.restart_syscall &&
    registers.getSigned('rax') === ERESTART_RESTARTBLOCK
  );
}

/**
 * Which call a thread in `restart_syscall` is in, from the code in front of its `syscall` instruction: compilers load the
 * number right before it (`mov eax, imm32`). Only the calls that can be restarted so are taken for an answer.
 *
 * @param code the seven bytes before rip.
 */
export function guessRestartedCall(code: Uint8Array): number | null {
  const bytes = Buffer.from(code.buffer, code.byteOffset, code.byteLength);
  if (bytes.length !== 7 || bytes[0] !== 0xb8 || bytes[5] !== 0x0f || bytes[6] !== 0x05) return null;
  const number = bytes.readUInt32LE(1);
  return WITH_RESTART_BLOCK.has(number) ? number : null;
}
