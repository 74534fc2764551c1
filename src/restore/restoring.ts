/**
 * A process that is being built out of an image.
 *
 *     beginRestore ──► building ──writePages…──► building ──finish──► stopped ──run──► running
 *                         │                         │                    │
 *                         └──────── destroy ────────┴────────────────────┴──► gone
 *
 * What a sketch shows of it can be built before there is an image: sketched ──become──► building.
 *
 * While it is being built its threads are traced and end with this program. Stopped, it is nobody's any more: a SIGSTOP
 * keeps it. All calls on one process come from one thread.
 */
import { assert, defined } from '../base/assert.ts';
import { ComicranError } from '../base/errors.ts';
import { decodeProcessImage } from '../image/codec.ts';
import type { ProcessImage } from '../image/types.ts';
import { continueQuietly } from '../linux/continue.ts';
import { KernelError } from '../linux/errno.ts';
import { FileLooks } from '../linux/file-digest.ts';
import { readIdMaps } from '../linux/id-map.ts';
import type { KernelFacts } from '../linux/kernel-facts.ts';
import { awaitExit, closeDescriptor, signalProcess } from '../linux/pidfd.ts';
import { ProcessWatch } from '../linux/process-watch.ts';
import * as ptrace from '../linux/ptrace.ts';
import { TRACE_OPTION } from '../linux/ptrace.ts';
import { currentCpu, getScheduling, setAffinity, setScheduling, singleCpu } from '../linux/scheduling.ts';
import { hasSignal, SIGNAL } from '../linux/signals.ts';
import type { TracedProcess } from '../linux/tracee.ts';
import { beNormal, beUrgent } from '../linux/urgency.ts';
import { reapThreads } from '../linux/wait.ts';
import { lockCalls, mapAreas, setFields, unmapAreas } from './address-space.ts';
import { offsetsFor, readMachineClocks } from './clocks.ts';
import { ownersOf } from './descriptors/owners.ts';
import { recreateDescriptors } from './descriptors/recreate.ts';
import { isGone, restoreFailure } from './failures.ts';
import { NO_RESTORE_FAULTS, type RestoreFaults } from './faults.ts';
import { filterCalls, missingFilters } from './filters.ts';
import { BUILDING, hatch } from './hatch.ts';
import { LazyMemory } from './lazy-memory.ts';
import { type PageRange, PageWriter } from './page-writer.ts';
import { checkFiles, checkIds, checkPlatform } from './platform.ts';
import {
  applyLimits,
  beginProcess,
  completionCalls,
  dumpableCall,
  prepareProcess,
  raiseDescriptorLimit,
  raiseLockLimit,
} from './process.ts';
import { clearAddressSpace, execute } from './program.ts';
import { adjustDescriptors, changedAreas, fits } from './sketched.ts';
import {
  completeThread,
  makeThreads,
  NO_EXTRA_CALLS,
  prepareThread,
  type RestoringThread,
  schedule,
  setRegisters,
  signalOf,
} from './threads.ts';

export type RestoreOptions = {
  readonly facts: KernelFacts;
  /** For each name of an inherited pipe the number at which the hatchery has its like. */
  readonly inherited?: ReadonlyMap<string, number>;
  /** Files that were looked at before. */
  readonly files?: FileLooks;
  readonly faults?: RestoreFaults;
  /**
   * Memory may be missing when the process is finished (lazy-areas.ts says which): whoever touches it waits until it is
   * put there through {@link RestoringProcess.takeUserfault}.
   */
  readonly lazy?: boolean;
};

const STANDARD_PIPES: ReadonlyMap<string, number> = new Map([
  ['stdin', 0],
  ['stdout', 1],
  ['stderr', 2],
]);
const EXIT_DEADLINE_MS = 2000;
/** How long the threads of a process that has been killed take to their end. */
const EXIT_SEEN_MS = 100;

/**
 * Builds the process of an image, as a child of the hatchery's parent, up to the contents of its pages.
 *
 * @param hatcheryPid an idle process in the sandbox, as this program sees it.
 * @throws ComicranError image.invalid, image.kernel-mismatch, process.unsupported (the sandbox lacks something),
 *   migration.refused (the PID is taken), process.trace. Nothing of the process is left then.
 */
export function beginRestore(imageBytes: Uint8Array, hatcheryPid: number, options: RestoreOptions): RestoringProcess {
  const restoring = newProcess(imageBytes, hatcheryPid, options);
  restoring.build(hatcheryPid, options.inherited ?? STANDARD_PIPES);
  restoring.dress(options.lazy ?? false);
  return restoring;
}

/**
 * Builds what a sketch shows of a process (Source.sketch): {@link SketchedProcess.become} makes it that of an image.
 *
 * @throws as {@link beginRestore}.
 */
export function beginSketched(sketchBytes: Uint8Array, hatcheryPid: number, options: RestoreOptions): SketchedProcess {
  const restoring = newProcess(sketchBytes, hatcheryPid, options);
  restoring.build(hatcheryPid, options.inherited ?? STANDARD_PIPES, true);
  restoring.pause(options.lazy ?? false);
  return new SketchedProcess(restoring, hatcheryPid, options);
}

/** Exactly one of become, discard is called in the end; from the thread that began it. */
export class SketchedProcess {
  readonly #restoring: RestoringProcess;
  readonly #hatcheryPid: number;
  readonly #options: RestoreOptions;

  constructor(restoring: RestoringProcess, hatcheryPid: number, options: RestoreOptions) {
    this.#restoring = restoring;
    this.#hatcheryPid = hatcheryPid;
    this.#options = options;
  }

  /**
   * What was built, as that of the image; or another one, where it does not fit.
   *
   * @throws as {@link beginRestore}. Nothing is left then.
   */
  become(imageBytes: Uint8Array): RestoringProcess {
    const restoring = this.#restoring;
    try {
      const image = checkedImage(imageBytes, this.#hatcheryPid, this.#options);
      if (restoring.adjust(image)) {
        restoring.dress(this.#options.lazy ?? false);
        return restoring;
      }
    } catch (error) {
      restoring.destroy();
      throw error;
    }
    restoring.destroy();
    return beginRestore(imageBytes, this.#hatcheryPid, this.#options);
  }

  /** What was built. Its userfaultfd, if it is built lazily, is there already. */
  get process(): RestoringProcess {
    return this.#restoring;
  }

  discard(): void {
    this.#restoring.destroy();
  }
}

function newProcess(imageBytes: Uint8Array, hatcheryPid: number, options: RestoreOptions): RestoringProcess {
  const image = checkedImage(imageBytes, hatcheryPid, options);
  const faults = options.faults ?? NO_RESTORE_FAULTS;
  faults.reach('restore.checked');
  return new RestoringProcess(image, options.facts, faults);
}

function checkedImage(imageBytes: Uint8Array, hatcheryPid: number, options: RestoreOptions): ProcessImage {
  const image = decodeProcessImage(imageBytes);
  checkPlatform(image.platform, options.facts);
  checkIds(image.process.ids, readIdMaps(hatcheryPid));
  const files = options.files ?? new FileLooks();
  checkFiles(image.memory.files, (path) => files.look(`/proc/${hatcheryPid}/root${path}`));
  return image;
}

type State = 'new' | 'building' | 'stopped' | 'running' | 'gone';

export class RestoringProcess {
  /** Or the sketch. */
  #image: ProcessImage;
  readonly #facts: KernelFacts;
  readonly #faults: RestoreFaults;
  #state: State = 'new';
  #process: TracedProcess | null = null;
  #pidfd = -1;
  #watch: ProcessWatch | null = null;
  #hatchery: ProcessWatch | null = null;
  #threads: RestoringThread[] = [];
  #writer: PageWriter | null = null;
  #lazy: LazyMemory | null = null;
  #filters: readonly Uint8Array[] = [];
  #inherited: ReadonlyMap<string, number> = new Map();
  /** That it is built on. */
  #cpu: Uint8Array | null = null;

  constructor(image: ProcessImage, facts: KernelFacts, faults: RestoreFaults) {
    this.#image = image;
    this.#facts = facts;
    this.#faults = faults;
  }

  /** As this program sees it. */
  get pid(): number {
    assert(this.#process !== null, 'the process has not been made');
    return this.#process.pid;
  }

  /** Called once, by {@link beginRestore} and {@link beginSketched}: what takes long, and of what a sketch tells enough. */
  build(hatcheryPid: number, inherited: ReadonlyMap<string, number>, isSketch = false): void {
    assert(this.#state === 'new', 'a process is built once');
    this.#inherited = inherited;
    this.#guarded(() => {
      this.#hatchery = new ProcessWatch(hatcheryPid);
      // The engine and the one that it works on take turns: on one CPU that takes half the time.
      const cpu = singleCpu(currentCpu());
      this.#cpu = cpu;
      beUrgent(this.#facts.scheduling, cpu);
      const clocks = offsetsFor(this.#image.platform, readMachineClocks());
      const { process, pidfd, thread: main } = hatch(hatcheryPid, this.#image.process.pid, clocks);
      this.#process = process;
      this.#pidfd = pidfd;
      this.#watch = new ProcessWatch(process.pid);
      this.#state = 'building';
      this.#threads = [{ thread: main, image: this.#image.threads[0]! }];
      setAffinity(process.pid, cpu);
      setScheduling(process.pid, getScheduling(0));
      process.doorbell = this.#freeDoorbell();
      this.#faults.reach('restore.hatched');
      execute(main, this.#image.process.executable);
      this.#faults.reach('restore.executed');
      clearAddressSpace(main, this.#image.memory);
      this.#faults.reach('restore.cleared');
      mapAreas(main, this.#image.memory);
      this.#faults.reach('restore.mapped');
      beginProcess(main, this.#image);
      raiseDescriptorLimit(process.pid, this.#image);
      const { descriptors } = this.#image;
      // A sketch may have none where the process has some.
      if (!isSketch || descriptors.descriptors.length > 0)
        recreateDescriptors({ tracee: main, inherited, owners: ownersOf(this.#image) }, descriptors);
      this.#faults.reach('restore.described');
      this.#threads = makeThreads(main, this.#image.threads);
      this.#faults.reach('restore.threads');
    });
  }

  /** Called once, behind {@link build} of a sketch: it waits for its image. @param lazy as of {@link dress} */
  pause(lazy: boolean): void {
    this.#guarded(() => {
      if (lazy) this.#lazy = new LazyMemory(this.#threads[0]!.thread);
    });
    beNormal(this.#facts.scheduling);
  }

  /**
   * Makes what was built of a sketch what would have been built of this image.
   *
   * @returns false: it does not fit, and is to be destroyed.
   */
  adjust(image: ProcessImage): boolean {
    assert(this.#state === 'building' && this.#writer === null, 'a process that is not a sketch any more');
    const sketch = this.#image;
    const { thread: main } = this.#threads[0]!;
    if (!fits(sketch, image, main.agent)) return false;
    this.#guarded(() => {
      beUrgent(this.#facts.scheduling, this.#cpu);
      this.#image = image;
      const made = new Map(this.#threads.map(({ thread, image: { tid } }) => [tid, thread]));
      this.#threads = image.threads.map((each) => ({ thread: defined(made.get(each.tid), 'a thread'), image: each }));
      main.process.doorbell = this.#freeDoorbell();
      const { gone, fresh } = changedAreas(sketch.memory, image.memory);
      unmapAreas(main, gone);
      mapAreas(main, { areas: fresh, files: image.memory.files });
      this.#faults.reach('restore.mapped');
      raiseDescriptorLimit(main.process.pid, image);
      const context = { tracee: main, inherited: this.#inherited, owners: ownersOf(image) };
      adjustDescriptors(context, sketch.descriptors, image.descriptors);
      this.#faults.reach('restore.described');
    });
    return true;
  }

  /** Called once, when there is an image: what takes less. */
  dress(lazy: boolean): void {
    this.#guarded(() => {
      const { thread: main } = this.#threads[0]!;
      this.#filters = missingFilters(main, this.#image.process.seccompFilters);
      setFields(main, this.#image.memory);
      prepareProcess(main, this.#image);
      for (const thread of this.#threads) prepareThread(thread);
      if (lazy) this.#lazy ??= new LazyMemory(main);
      this.#lazy?.register(this.#image.memory);
      this.#writer = new PageWriter(main.process.memory, this.#image.memory, this.#lazy);
      this.#faults.reach('restore.begun');
    });
  }

  /**
   * The userfaultfd of a process restored lazily, to be looked after by somebody from before {@link run} until no page is
   * missing. As long as this program alone has it, its end makes every missing page a zero page. It stays this object's
   * until {@link takeUserfault}.
   */
  get userfault(): number {
    assert(this.#lazy !== null, 'a process whose memory is all there');
    return this.#lazy.descriptor;
  }

  /** As {@link userfault}; it is the caller's from now on. */
  takeUserfault(): number {
    assert(this.#lazy !== null, 'a process whose memory is all there');
    return this.#lazy.release();
  }

  /** @param bytes the memory of `ranges`, one behind another. @throws ComicranError image.invalid */
  writePages(ranges: readonly PageRange[], bytes: Uint8Array): void {
    assert(this.#state === 'building' && this.#writer !== null, 'pages for a process that is not being built');
    const writer = this.#writer;
    this.#guarded(() => {
      writer.write(ranges, bytes);
      this.#faults.reach('restore.pages');
    });
  }

  /**
   * Completes the process and leaves it stopped, in a way that outlives this program. All pages must have come.
   *
   * @param missingBytes lazy: of pages that come later.
   */
  finish(missingBytes = 0n): void {
    assert(this.#state === 'building' && this.#writer !== null, 'a process that is not being built is finished');
    assert(missingBytes === 0n || this.#lazy !== null, 'pages are missing where nobody can bring them');
    const bytes = this.#writer.bytes + missingBytes;
    this.#guarded(() => {
      const { pageBytes } = this.#image.memory;
      if (bytes < pageBytes)
        throw new ComicranError('image.invalid', `${bytes} bytes of pages came where ${pageBytes} were to come`);
      beUrgent(this.#facts.scheduling, singleCpu(currentCpu()));
      this.#complete();
      this.#faults.reach('restore.completed');
      const main = this.#threads[0]!.thread;
      main.removeAgent();
      for (const thread of this.#threads) setRegisters(thread);
      this.#faults.reach('restore.registers');
      signalProcess(this.#pidfd, SIGNAL.STOP);
      for (const { thread } of this.#threads) ptrace.setOptions(thread.tid, TRACE_OPTION.SYSGOOD);
      for (const { thread } of this.#threads) ptrace.detach(thread.tid);
      this.#state = 'stopped';
      this.#faults.reach('restore.stopped');
    });
  }

  #complete(): void {
    const image = this.#image;
    const [main, ...others] = this.#threads;
    const { thread } = main!;
    const locks = lockCalls(image.memory.areas);
    if (locks.length > 0) {
      raiseLockLimit(thread.process.pid, image);
      thread.batch(locks);
    }
    applyLimits(thread.process.pid, image);
    if (this.#filters.length > 0)
      for (const each of this.#threads) ptrace.setOptions(each.thread.tid, BUILDING | TRACE_OPTION.SUSPEND_SECCOMP);
    for (const other of others) completeThread(other, image.process, NO_EXTRA_CALLS);
    completeThread(main!, image.process, {
      before: [...completionCalls(thread, image, this.#facts.timerRestoreIds), ...filterCalls(thread, this.#filters)],
      after: [dumpableCall(image)],
    });
    for (const each of this.#threads) schedule(each, this.#facts.scheduling.cpus);
  }

  /** Lets it run. Does nothing where it runs already. */
  run(): void {
    if (this.#state === 'running') return;
    assert(this.#state === 'stopped', 'a process that is not finished is to run');
    assert(this.#lazy === null || this.#lazy.isReleased, 'a process with missing pages runs and nobody brings them');
    if (this.#noticesContinue()) continueQuietly(this.pid);
    else signalProcess(this.#pidfd, SIGNAL.CONT);
    this.#state = 'running';
    this.#release();
  }

  /** Whether the process has a handler for SIGCONT or may wait for it. */
  #noticesContinue(): boolean {
    const { signals, threads } = this.#image;
    const handler = signals.actions.subarray((SIGNAL.CONT - 1) * 32, (SIGNAL.CONT - 1) * 32 + 8);
    return handler.some((byte) => byte !== 0) || threads.some(({ signalMask }) => hasSignal(signalMask, SIGNAL.CONT));
  }

  /** Nothing of it is left. May be called at any moment before run, and more than once. */
  destroy(): void {
    assert(this.#state !== 'running', 'a process that runs is to be destroyed');
    if (this.#state === 'building' || this.#state === 'stopped') this.#kill(this.#state === 'building');
    this.#state = 'gone';
    this.#release();
    beNormal(this.#facts.scheduling);
  }

  #kill(traced: boolean): void {
    try {
      signalProcess(this.#pidfd, SIGNAL.KILL);
      if (traced) reapThreads(this.#threads.map(({ thread }) => thread.tid).toReversed());
      awaitExit(this.#pidfd, EXIT_DEADLINE_MS);
    } catch (error) {
      // It ended by itself.
      if (!(error instanceof KernelError) || error.code !== 'ESRCH') throw error;
    }
  }

  #release(): void {
    this.#hatchery?.close();
    this.#hatchery = null;
    this.#watch?.close();
    this.#watch = null;
    if (this.#pidfd < 0) return;
    this.#lazy?.close();
    this.#process?.close();
    closeDescriptor(this.#pidfd);
    this.#pidfd = -1;
  }

  /** Runs a step; when it fails, nothing of the process is left. */
  #guarded(run: () => void): void {
    try {
      run();
    } catch (cause) {
      // Before it is ended here.
      const hatchery = this.#hatchery === null ? { code: null, signal: null } : this.#hatchery.ended();
      const ended = { process: this.#watch?.endedTraced(isGone(cause) ? EXIT_SEEN_MS : 0), hatchery };
      this.destroy();
      throw restoreFailure(cause, ended);
    } finally {
      // Until it is complete, the source may be standing still.
      if (this.#state !== 'building') beNormal(this.#facts.scheduling);
    }
  }

  /** A signal that ends injected calls and that does not wait in the image, where it would get lost. */
  #freeDoorbell(): number {
    const waiting = [...this.#image.signals.pending, ...this.#image.threads.flatMap((thread) => thread.pendingSignals)];
    const taken = waiting.reduce((mask, info) => mask | (1n << BigInt(signalOf(info) - 1)), 0n);
    const free = [SIGNAL.URG, SIGNAL.WINCH, SIGNAL.CHLD].find((signal) => !hasSignal(taken, signal));
    return free ?? SIGNAL.URG;
  }
}
