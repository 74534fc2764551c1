/**
 * Follows a process and everything that it starts from system call to system call, and notes each path that it uses with
 * success. By ptrace(2) and not by fanotify(7): that one tells neither of a file that is only looked for (stat, access,
 * readlink), nor of the name that led to it by way of links. It costs two stops for each system call, for the few seconds
 * of one run.
 */
import { posix } from 'node:path';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { ComicranError } from '../../base/errors.ts';
import { ESRCH, KernelError } from '../../linux/errno.ts';
import { ProcessMemory } from '../../linux/memory.ts';
import { readProcLink } from '../../linux/procfs.ts';
import { eventMessage, interrupt, resumeToSyscall, seize, TRACE_EVENT, TRACE_OPTION } from '../../linux/ptrace.ts';
import { SIGNAL } from '../../linux/signals.ts';
import { syscallStop } from '../../linux/syscall-info.ts';
import { pollThread, type WaitStatus } from '../../linux/wait.ts';
import { fileCall, type Use } from './file-calls.ts';

/** What was done with each path, as the process names it; absolute. */
export type Uses = ReadonlyMap<string, ReadonlySet<Use>>;

const OPTIONS =
  TRACE_OPTION.SYSGOOD |
  TRACE_OPTION.FORK |
  TRACE_OPTION.VFORK |
  TRACE_OPTION.CLONE |
  TRACE_OPTION.EXEC |
  TRACE_OPTION.EXITKILL;
/** How TRACE_OPTION.SYSGOOD marks the stops at system calls. */
const SYSCALL_TRAP = SIGNAL.TRAP | 0x80;
const PATH_MAX = 4096;
const PAGE = 4096n;
const IDLE_MS = 1;
const SPIN_ROUNDS = 50;
const NEW_THREADS: readonly number[] = [TRACE_EVENT.FORK, TRACE_EVENT.VFORK, TRACE_EVENT.CLONE];

type Pending = { readonly path: string; readonly use: Use };

export class Tracer {
  readonly #uses = new Map<string, Set<Use>>();
  readonly #threads = new Set<number>();
  readonly #pending = new Map<number, Pending>();
  /** Nothing is noted until this has been executed: what comes before belongs to who starts it. */
  readonly #from: string;
  #started = false;

  /** @param pid a process that waits until it is told to go on. @param from the executable that it will become. */
  constructor(pid: number, from: string) {
    this.#from = from;
    seize(pid, OPTIONS);
    this.#threads.add(pid);
  }

  get uses(): Uses {
    return this.#uses;
  }

  get started(): boolean {
    return this.#started;
  }

  /** Until all have ended, which somebody else may make them do. Other work of this program goes on meanwhile. */
  async follow(kick: () => void): Promise<void> {
    this.#interrupt();
    kick();
    for (let idleRounds = 0; this.#threads.size > 0; idleRounds++) {
      for (const tid of this.#threads) if (this.#look(tid)) idleRounds = 0;
      // Between two system calls there are microseconds: only who computes or waits for long is worth a sleep.
      await (idleRounds < SPIN_ROUNDS ? setImmediate() : setTimeout(IDLE_MS));
    }
  }

  /** A seized thread stops at its system calls only after it has been resumed so: it is interrupted once. */
  #interrupt(): void {
    for (const tid of this.#threads) interrupt(tid);
  }

  #look(tid: number): boolean {
    try {
      const status = pollThread(tid);
      if (status === null) return false;
      if (status.kind === 'stopped') this.#stopped(tid, status);
      else this.#threads.delete(tid);
    } catch (thrown) {
      if (!isGone(thrown)) throw thrown;
      this.#threads.delete(tid);
    }
    return true;
  }

  #stopped(tid: number, { signal, event }: WaitStatus & { kind: 'stopped' }): void {
    if (signal === SYSCALL_TRAP) {
      this.#atSyscall(tid);
      resumeToSyscall(tid);
    } else if (event !== 0) {
      if (NEW_THREADS.includes(event)) this.#threads.add(eventMessage(tid));
      if (event === TRACE_EVENT.EXEC) this.#executed(tid, eventMessage(tid));
      resumeToSyscall(tid);
    } else resumeToSyscall(tid, signal);
  }

  #atSyscall(tid: number): void {
    const stop = syscallStop(tid);
    if (stop.kind === 'entry') {
      const memory = new ProcessMemory(tid);
      try {
        const call = fileCall(stop.number, stop.words, {
          text: (address) => readText(memory, address),
          word: (address) => memory.read(address, 8).readBigUInt64LE(0),
        });
        if (call !== undefined) this.#pending.set(tid, { path: absolute(tid, call), use: call.use });
      } finally {
        memory.close();
      }
    } else if (stop.kind === 'exit') {
      const pending = this.#pending.get(tid);
      this.#pending.delete(tid);
      if (pending !== undefined && stop.result >= 0n && pending.use !== 'execute') this.#note(pending);
    }
  }

  /** @param former the thread that has called execve; from then on it has the id of its process. */
  #executed(tid: number, former: number): void {
    const pending = this.#pending.get(former) ?? this.#pending.get(tid);
    this.#pending.delete(former);
    this.#pending.delete(tid);
    if (former !== tid) this.#threads.delete(former);
    if (pending?.path === this.#from) this.#started = true;
    if (pending !== undefined) this.#note(pending);
  }

  #note({ path, use }: Pending): void {
    if (!this.#started) return;
    const known = this.#uses.get(path);
    if (known === undefined) this.#uses.set(path, new Set([use]));
    else known.add(use);
  }
}

function absolute(tid: number, { path, directory }: { path: string; directory: number | undefined }): string {
  if (path.startsWith('/')) return posix.normalize(path);
  return posix.join(readProcLink(tid, directory === undefined ? 'cwd' : `fd/${directory}`), path);
}

/** Not beyond the page that the text begins in, unless it goes on: the next may not be there. */
function readText(memory: ProcessMemory, address: bigint): string | undefined {
  let text = Buffer.alloc(0);
  for (let at = address; text.length < PATH_MAX; at += PAGE - (at % PAGE)) {
    let bytes: Buffer;
    try {
      bytes = memory.read(at, Number(PAGE - (at % PAGE)));
    } catch {
      return undefined; // the kernel will answer EFAULT
    }
    const end = bytes.indexOf(0);
    if (end !== -1) return Buffer.concat([text, bytes.subarray(0, end)]).toString('utf8');
    text = Buffer.concat([text, bytes]);
  }
  return undefined;
}

function isGone(thrown: unknown): boolean {
  if (thrown instanceof ComicranError) return thrown.code === 'process.gone';
  return (
    (thrown instanceof KernelError && thrown.errno === ESRCH) || (thrown as NodeJS.ErrnoException).code === 'ENOENT'
  );
}
