/**
 * The process at the source: inspected once, then frozen any number of times.
 *
 *     openSource ──► Source ──freeze──► FrozenSource ──resume──► (runs on, may be frozen again)
 *                                                   └──kill────► (gone)
 *                         ──snapshot──► Snapshot, and it runs on
 *
 * All calls on one process come from one thread: ptrace belongs to it.
 */
import { assert } from '../base/assert.ts';
import { ComicranError } from '../base/errors.ts';
import { encodeProcessImage } from '../image/codec.ts';
import type { MemoryArea } from '../image/types.ts';
import type { Cgroup } from '../linux/cgroup.ts';
import { makeRoomForProcesses } from '../linux/cgroup-process-limit.ts';
import { KernelError } from '../linux/errno.ts';
import { FileLooks } from '../linux/file-digest.ts';
import { type IdMaps, readIdMaps } from '../linux/id-map.ts';
import type { KernelFacts } from '../linux/kernel-facts.ts';
import { PageFinder } from '../linux/pagemap.ts';
import { closeDescriptor, openPidfd } from '../linux/pidfd.ts';
import { ThreadFiles } from '../linux/thread-files.ts';
import { TracedProcess, type Tracee } from '../linux/tracee.ts';
import { beFirst, beNormal, beUrgent } from '../linux/urgency.ts';
import { captureState, imageWith } from './capture.ts';
import { type CopiedMemory, type LastPages, privateAreas } from './copied-memory.ts';
import type { InheritedPipe } from './descriptors/capture.ts';
import { PreparedDescriptors } from './descriptors/prepared.ts';
import { type CaptureFault, type Faults, NO_FAULTS } from './faults.ts';
import { type FrozenThread, freezeThreads, Stragglers } from './freeze.ts';
import { FrozenSource, pageRanges } from './frozen.ts';
import { inStop } from './in-stop.ts';
import { inspectProcess } from './inspect.ts';
import { MappedFiles } from './mapped-files.ts';
import { AreaSurveyor, findPages } from './memory.ts';
import { RestartedCalls } from './restarted-calls.ts';
import { sketchProcess } from './sketch.ts';
import { type Snapshot, type SnapshotOptions, takeCopiedSnapshot, takeSnapshot } from './snapshot.ts';
import { SignalStop } from './stop.ts';
import { WaitDeadlines } from './wait-deadlines.ts';

export type SourceOptions = {
  readonly facts: KernelFacts;
  /** Pipes of the process whose other ends belong to whoever started it: they are given to it anew at the destination. */
  readonly inherited?: readonly InheritedPipe[];
  /** Paths of the sandbox's own file systems in memory: what the process has written there travels. */
  readonly written?: readonly string[];
  /** PID 1 of the sandbox, as this program sees it: a process that has left the sandbox's namespaces is refused. */
  readonly sandboxInit?: number;
  /** The control group of the sandbox: its freezer makes a stop by signal last, and its limit of processes is raised for a clone. */
  readonly cgroup?: Cgroup;
  /** Files that were looked at before. */
  readonly files?: FileLooks;
  /** How long a thread may take to stop. */
  readonly freezeDeadlineMicros?: number;
  /**
   * Called right before the process is stopped, to do something of the kind with another one.
   *
   * @param forks whether it is about to be forked.
   */
  readonly rehearse?: (forks: boolean) => void;
  readonly faults?: Faults<CaptureFault>;
};

const FREEZE_DEADLINE_MICROS = 500_000;
/** See linux/fork.ts; and threads that the process itself may begin meanwhile. */
const CLONE_PROCESSES = 2 + 6;
/** The last one reads the areas in the stop, which takes longer and cannot miss a change. */
const SNAPSHOT_TRIES = 4;

/** What a capture reads the process through, open and warm before the process is stopped. */
export type SourceTools = {
  readonly facts: KernelFacts;
  readonly pid: number;
  readonly pidfd: number;
  readonly process: TracedProcess;
  readonly pageFinder: PageFinder;
  readonly surveyor: AreaSurveyor;
  readonly restarted: RestartedCalls;
  /** The status files of the threads. */
  readonly statuses: ThreadFiles;
  readonly inherited: readonly InheritedPipe[];
  readonly written: readonly string[];
  /** Of the sandbox: they never change. */
  readonly ids: IdMaps;
  readonly faults: Faults<CaptureFault>;
};

/**
 * Looks at a process and gets ready to freeze it. The process is not touched.
 *
 * @throws ComicranError process.unsupported, naming what it has that cannot be moved; process.gone.
 */
export function openSource(pid: number, options: SourceOptions): Source {
  return translated(pid, () => new Source(pid, options));
}

export class Source {
  readonly pid: number;
  readonly #tools: SourceTools;
  readonly #deadlineMicros: number;
  readonly #stragglers = new Stragglers();
  readonly #deadlines = new WaitDeadlines();
  readonly #cgroup: Cgroup | null;
  readonly #rehearse: (forks: boolean) => void;
  #frozen: FrozenSource | null = null;
  #stop: SignalStop | null = null;

  /** Use {@link openSource}. */
  constructor(pid: number, options: SourceOptions) {
    this.pid = pid;
    this.#deadlineMicros = options.freezeDeadlineMicros ?? FREEZE_DEADLINE_MICROS;
    this.#cgroup = options.cgroup ?? null;
    this.#rehearse = options.rehearse ?? (() => undefined);
    const faults = options.faults ?? NO_FAULTS;
    const files = options.files ?? new FileLooks();
    const mappedFiles = new MappedFiles(pid, files);
    const { inherited = [], written = [] } = options;
    const pidfd = openPidfd(pid);
    try {
      inspectProcess({
        pid,
        pidfd,
        files,
        mappedFiles,
        inherited,
        written,
        sandboxInit: options.sandboxInit ?? null,
        faults,
      });
      const process = new TracedProcess(pid, 0n, true);
      this.#tools = {
        facts: options.facts,
        pid,
        pidfd,
        process,
        pageFinder: new PageFinder(pid, options.facts.pagemapScan),
        surveyor: new AreaSurveyor(process.memory, mappedFiles),
        statuses: new ThreadFiles(pid, 'status'),
        restarted: new RestartedCalls(pid),
        inherited,
        written,
        ids: readIdMaps(pid),
        faults,
      };
    } catch (error) {
      closeDescriptor(pidfd);
      throw error;
    }
  }

  /** What a destination can build of the process beforehand (sketch.ts); it runs, and is not touched. @throws as {@link freeze} */
  sketch(): Uint8Array {
    return translated(this.pid, () => encodeProcessImage(sketchProcess(this.#tools)));
  }

  /**
   * Stops every thread and captures the process. On failure the process runs on as if nothing had happened.
   *
   * @param copied memory that has been copied beforehand: `pages` are then the last ones alone.
   * @throws ComicranError process.unsupported, process.gone, process.trace, deadline.
   */
  freeze(copied?: CopiedMemory): FrozenSource {
    assert(this.#frozen?.isOver !== false, 'a process is frozen once at a time');
    this.#frozen = translated(this.pid, () => {
      const { faults } = this.#tools;
      using prepared = this.#prepare(copied);
      const threads = this.#stopAll();
      const frozen = new FrozenSource(this.#tools, threads);
      try {
        const state = captureState(this.#tools, prepared, threads).complete();
        beUrgent(this.#tools.facts.scheduling, null);
        const { own, written } =
          copied === undefined ? this.#allPages(state.memory.areas) : copied.last(privateAreas(state.memory.areas));
        faults.reach('capture.pages');
        frozen.setImage(encodeProcessImage(imageWith(state, own)), { pages: written, ownPages: own });
        faults.reach('capture.encoded');
        return frozen;
      } catch (error) {
        frozen.resume();
        throw error;
      }
    });
    return this.#frozen;
  }

  /**
   * Captures the process as it is at one moment and lets it run on at once; its memory is read from a clone. On failure the
   * process runs on as if nothing had happened.
   *
   * @throws ComicranError process.unsupported, also where the process may not have another one beside it (limits.pids);
   *   process.gone, process.trace, deadline; and what `atStop` throws.
   */
  snapshot(options: SnapshotOptions = {}): Snapshot {
    assert(this.#frozen?.isOver !== false, 'a frozen process is not photographed');
    return translated(this.pid, () => {
      const { copied } = options;
      const stopAll = (): FrozenThread[] => this.#stopAll();
      if (copied !== undefined) {
        using prepared = this.#prepare(copied);
        return takeCopiedSnapshot(this.#tools, prepared, stopAll, copied, options);
      }
      const putBack = this.#cgroup === null ? null : makeRoomForProcesses(this.#cgroup, CLONE_PROCESSES);
      try {
        for (let tries = 1; ; tries++) {
          using prepared = this.#prepare(undefined, true);
          const snapshot = takeSnapshot(this.#tools, prepared, stopAll, options, tries < SNAPSHOT_TRIES);
          if (snapshot !== null) return snapshot;
        }
      } finally {
        putBack?.();
      }
    });
  }

  /**
   * Stops every thread for a moment, does something with the main one, which can make system calls, and lets them go. They
   * notice nothing.
   *
   * @throws ComicranError process.unsupported, process.gone, process.trace, deadline; and what `run` throws.
   */
  inStop<T>(run: (main: Tracee) => T): T {
    assert(this.#frozen?.isOver !== false, 'a frozen process is stopped already');
    return translated(this.pid, () => {
      const { process, facts, faults } = this.#tools;
      beUrgent(facts.scheduling, null);
      try {
        return inStop(process, { deadlineMicros: this.#deadlineMicros, stragglers: this.#stragglers, faults }, run);
      } finally {
        beNormal(facts.scheduling);
      }
    });
  }

  /** Whatever can be looked at before the stop. */
  #prepare(copied: CopiedMemory | undefined, forks = false): PreparedDescriptors {
    const { pid, pidfd, inherited, written, ids, surveyor, restarted, statuses, facts, faults } = this.#tools;
    restarted.prepare();
    statuses.prepare();
    const prepared = new PreparedDescriptors({ pid, pidfd, threads: [], inherited, written, ids });
    try {
      surveyor.prepare(copied !== undefined);
      copied?.prepare();
      this.#rehearse(forks);
      prepared.rehearse();
      faults.reach('freeze.surveyed');
    } catch (error) {
      prepared.close();
      throw error;
    }
    beUrgent(facts.scheduling, null);
    return prepared;
  }

  #allPages(areas: readonly MemoryArea[]): Pick<LastPages, 'own' | 'written'> {
    const pages = pageRanges(findPages(areas, this.#tools.pageFinder));
    return { own: pages, written: pages };
  }

  #stopAll(): FrozenThread[] {
    const { process, facts, faults, statuses } = this.#tools;
    const deadlineMicros = this.#deadlineMicros;
    try {
      const stragglers = this.#stragglers;
      const deadlines = this.#deadlines;
      const threads = freezeThreads(process, { deadlineMicros, stragglers, deadlines, faults, statuses });
      beFirst();
      return threads;
    } catch (error) {
      beNormal(facts.scheduling);
      throw error;
    }
  }

  /** The stop that outlives this program. */
  get stopped(): SignalStop {
    this.#stop ??= new SignalStop(this.pid, this.#tools.pidfd, this.#cgroup, this.#tools.facts.scheduling);
    return this.#stop;
  }

  /** Gets ready for {@link stop}, which is quick then. */
  prepareStop(): void {
    this.stopped.prepare();
  }

  /** Stops the process in a way that outlives this program, see {@link SignalStop.stop}. */
  stop(): SignalStop {
    assert(this.#frozen?.isOver !== false, 'a frozen process is not stopped');
    this.stopped.stop();
    return this.stopped;
  }

  /** Lets go of the process: one that is frozen runs on; one that is stopped by signal stays so. */
  close(): void {
    if (this.#frozen?.isOver === false) this.#frozen.resume();
    this.#stop?.close();
    this.#tools.statuses.close();
    this.#tools.pageFinder.close();
    this.#tools.process.close();
    closeDescriptor(this.#tools.pidfd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Failures of the kernel's become failures of the capture, with the process named. */
function translated<T>(pid: number, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if (cause instanceof KernelError && (cause.code === 'ESRCH' || cause.code === 'ENOENT'))
      throw new ComicranError('process.gone', `process ${pid} has ended`, { cause });
    if (cause instanceof KernelError)
      throw new ComicranError('process.trace', `process ${pid} cannot be captured: ${cause.message}`, { cause });
    throw cause;
  }
}
