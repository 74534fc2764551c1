/**
 * A process that is being built out of an image.
 *
 *     beginRestore ──► building ──writePages…──► building ──finish──► stopped ──run──► running
 *                         │                         │                    │
 *                         └──────── destroy ────────┴────────────────────┴──► gone
 *
 * What a sketch shows of it can be built before there is an image (sketched-process.ts).
 *
 * While it is being built its threads are traced and end with this program. Stopped, it is nobody's any more: a SIGSTOP
 * keeps it. All calls on one process come from one thread.
 */
import { assert, defined } from '../base/assert.ts';
import { ComicranError } from '../base/errors.ts';
import type { ProcessImage } from '../image/types.ts';
import { continueQuietly } from '../linux/continue.ts';
import { KernelError } from '../linux/errno.ts';
import type { KernelFacts } from '../linux/kernel-facts.ts';
import { awaitExit, closeDescriptor, signalProcess } from '../linux/pidfd.ts';
import { ProcessWatch } from '../linux/process-watch.ts';
import * as ptrace from '../linux/ptrace.ts';
import { TRACE_OPTION } from '../linux/ptrace.ts';
import { currentCpu, getScheduling, setAffinity, setScheduling, singleCpu } from '../linux/scheduling.ts';
import { SIGNAL } from '../linux/signals.ts';
import type { TracedProcess } from '../linux/tracee.ts';
import { beNormal, beUrgent } from '../linux/urgency.ts';
import { reapThreads } from '../linux/wait.ts';
import { mapAreas, setFields, unmapAreas } from './address-space.ts';
import { offsetsFor, readMachineClocks } from './clocks.ts';
import { completeProcess } from './completion.ts';
import { ownersOf } from './descriptors/owners.ts';
import { recreateDescriptors } from './descriptors/recreate.ts';
import { isGone, restoreFailure } from './failures.ts';
import type { RestoreFaults } from './faults.ts';
import { missingFilters } from './filters.ts';
import { hatch } from './hatch.ts';
import { freeDoorbell, noticesContinue } from './image-signals.ts';
import { LazyMemory } from './lazy-memory.ts';
import { type PageRange, PageWriter } from './page-writer.ts';
import { beginProcess, prepareProcess, raiseDescriptorLimit } from './process.ts';
import { clearAddressSpace, execute } from './program.ts';
import { adjustDescriptors, changedAreas, fits } from './sketched.ts';
import { makeThreads, prepareThread, type RestoringThread, setRegisters } from './threads.ts';

const EXIT_DEADLINE_MS = 2000;
/** How long the threads of a process that has been killed take to their end. */
const EXIT_SEEN_MS = 100;

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

  /** What it is built of. */
  get image(): ProcessImage {
    return this.#image;
  }

  /** As this program sees it. */
  get pid(): number {
    assert(this.#process !== null, 'the process has not been made');
    return this.#process.pid;
  }

  /** Called once, by beginRestore and beginSketched: what takes long, and of what a sketch tells enough. */
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
      this.#threads = [{ thread: main, image: this.#image.threads[0]! }];
      this.#state = 'building';
      this.#watch = new ProcessWatch(process.pid);
      setAffinity(process.pid, cpu);
      setScheduling(process.pid, getScheduling(0));
      process.doorbell = freeDoorbell(this.#image);
      this.#faults.reach('restore.hatched');
      execute(main, this.#image.process.executable);
      this.#faults.reach('restore.executed');
      clearAddressSpace(main, this.#image.memory);
      this.#faults.reach('restore.cleared');
      mapAreas(main, this.#image.memory);
      this.#faults.reach('restore.mapped');
      beginProcess(main, this.#image);
      raiseDescriptorLimit(main, this.#image);
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
      main.process.doorbell = freeDoorbell(this.#image);
      const { gone, fresh } = changedAreas(sketch.memory, image.memory);
      unmapAreas(main, gone);
      mapAreas(main, { areas: fresh, files: image.memory.files });
      this.#faults.reach('restore.mapped');
      raiseDescriptorLimit(main, image);
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
      completeProcess(this.#threads, this.#image, this.#filters, this.#facts);
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

  /** Lets it run. Does nothing where it runs already. */
  run(): void {
    if (this.#state === 'running') return;
    assert(this.#state === 'stopped', 'a process that is not finished is to run');
    assert(this.#lazy === null || this.#lazy.isReleased, 'a process with missing pages runs and nobody brings them');
    if (noticesContinue(this.#image)) continueQuietly(this.pid);
    else signalProcess(this.#pidfd, SIGNAL.CONT);
    this.#state = 'running';
    this.#release();
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
}
