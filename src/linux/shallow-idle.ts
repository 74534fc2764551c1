/**
 * Keeping idle CPUs awake for a moment, by the kernel's own interface for it (PM QoS, Documentation/power/pm_qos_interface.rst).
 *
 * A thread that wakes another one on an idle CPU waits until that CPU has come out of its sleep: some 30 to 50 µs in a virtual
 * machine, where the host has to be asked, and a process that stands still under a tracer is woken a dozen times. A CPU that
 * polls instead sees the wake-up at once. The kernel forgets the wish when the descriptor is closed, also by the end of this
 * program.
 */
import { cString, trySyscall } from './libc.ts';
import { O } from './open-flags.ts';
import { SYS } from './syscall-numbers.ts';

const AT_FDCWD = -100;
const NOT_TRIED = -1;
const NOT_THERE = -2;
/** The longest wake-up that is bearable, in microseconds: none, and any (PM_QOS_CPU_LATENCY_DEFAULT_VALUE). */
const NO_LATENCY = Buffer.from(Int32Array.of(0).buffer);
const ANY_LATENCY = Buffer.from(Int32Array.of(2_000_000_000).buffer);

export class ShallowIdle {
  #descriptor = NOT_TRIED;
  #isAsked = false;

  /** Idle CPUs poll from now on; slower, but no less right, where that cannot be had. May be repeated. */
  ask(): void {
    if (this.#isAsked) return;
    if (this.#descriptor === NOT_TRIED) {
      const file = trySyscall(SYS.openat, AT_FDCWD, cString('/dev/cpu_dma_latency'), O.RDWR | O.CLOEXEC);
      this.#descriptor = file < 0 ? NOT_THERE : file;
    }
    this.#write(NO_LATENCY);
    this.#isAsked = true;
  }

  /** Idle CPUs sleep as they like. Does nothing where nothing was asked. */
  end(): void {
    if (!this.#isAsked) return;
    this.#isAsked = false;
    this.#write(ANY_LATENCY);
  }

  #write(latency: Buffer): void {
    if (this.#descriptor >= 0) trySyscall(SYS.write, this.#descriptor, latency, latency.length);
  }
}
