/** Watching for the end of a process that is somebody else's child: pidfd_open(2), and the exit code in proc(5). */
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import type { ProcessEnd } from '../base/process-end.ts';
import { awaitExit, closeDescriptor, openPidfd } from './pidfd.ts';
import { identifyProcess, type ProcessIdentity } from './process-identity.ts';

const SIGNAL_NAMES = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));
/** Of /proc/PID/stat, counted from 1: the status as waitpid(2) would give it. */
const EXIT_CODE_FIELD = 52;
const NOT_KNOWN: ProcessEnd = { code: null, signal: null };

export class ProcessWatch {
  readonly pid: number;
  /** Readable (poll) when the process has ended. It stays this object's. */
  readonly descriptor: number;
  readonly #identity: ProcessIdentity | undefined;
  #end: ProcessEnd | undefined;

  /** @throws KernelError ESRCH: there is no such process. */
  constructor(pid: number) {
    this.pid = pid;
    this.descriptor = openPidfd(pid);
    this.#identity = identifyProcess(pid);
  }

  /** How it has ended; undefined: it has not. How is known as long as its parent has not reaped it. */
  ended(): ProcessEnd | undefined {
    if (this.#end === undefined && awaitExit(this.descriptor, 0)) this.#end = this.#status() ?? NOT_KNOWN;
    return this.#end;
  }

  /**
   * The same of a process that is traced: it counts as ended as soon as its first thread has, whether its tracer has seen the
   * end of all threads or not.
   * @param patienceMs for one that has been killed, and whose threads have still to get to their end
   */
  endedTraced(patienceMs = 0): ProcessEnd | undefined {
    for (const untilMs = performance.now() + patienceMs; ; ) {
      const end = this.ended() ?? this.#status();
      if (end !== undefined || performance.now() >= untilMs) return end;
      awaitExit(this.descriptor, 1);
    }
  }

  #status(): ProcessEnd | undefined {
    const { pid } = this;
    if (identifyProcess(pid)?.startTicks !== this.#identity?.startTicks) return undefined;
    try {
      const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
      return fields[0] === 'Z' || fields[0] === 'X' ? endOf(Number(fields[EXIT_CODE_FIELD - 3])) : undefined;
    } catch {
      return undefined;
    }
  }

  close(): void {
    closeDescriptor(this.descriptor);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** @param status as of waitpid(2) */
export function endOf(status: number): ProcessEnd {
  const signal = status & 0x7f;
  if (signal === 0) return { code: (status >> 8) & 0xff, signal: null };
  return { code: null, signal: SIGNAL_NAMES.get(signal) ?? `signal ${signal}` };
}
