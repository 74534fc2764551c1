/**
 * What is left of the timeouts of waits that are issued again at every freeze (see restart.ts): without this a process that
 * is frozen often enough would never see one of them end.
 *
 * Where the timeout is in a register, as that of epoll_wait, the remainder is put there. From when on a thread had waited
 * before its first freeze nobody knows, so that the timeout counts from then. Where it is in the memory of the program, or in
 * the socket, it starts again every time.
 */
import type { Registers } from '../linux/registers.ts';
import { SYS } from '../linux/syscall-numbers.ts';

/** The calls whose fourth argument is a timeout in milliseconds: an int, negative for none. */
const MILLISECONDS_IN_R10: ReadonlySet<number> = new Set([SYS.epoll_wait, SYS.epoll_pwait]);

type Wait = {
  /** Which call of which place in the program, on what. */
  readonly call: string;
  readonly deadlineMillis: number;
  /** What was put into the register. */
  readonly timeout: number;
};

export class WaitDeadlines {
  readonly #waits = new Map<number, Wait>();

  /**
   * Shortens the timeout of a call that is about to be issued again.
   *
   * @param registers with the number of the call in rax.
   */
  shorten(tid: number, registers: Registers, nowMillis: number): void {
    const timeout = Number(BigInt.asIntN(32, registers.get('r10')));
    if (!MILLISECONDS_IN_R10.has(Number(registers.get('rax'))) || timeout <= 0) {
      this.#waits.delete(tid);
      return;
    }
    const call = (['rax', 'rip', 'rdi', 'rsi', 'rdx'] as const).map((name) => registers.get(name)).join();
    const known = this.#waits.get(tid);
    const isSame = known !== undefined && known.call === call && known.timeout === timeout;
    const deadlineMillis = isSame ? known.deadlineMillis : nowMillis + timeout;
    // Always less than before: the same number would be a new wait of the program. At 0 it would not wait at all.
    const left = Math.max(0, Math.min(timeout - 1, Math.ceil(deadlineMillis - nowMillis)));
    registers.set('r10', left);
    this.#waits.set(tid, { call, deadlineMillis, timeout: left });
  }
}
