/** The address space of a stopped process. */
import { ComicranError } from '../base/errors.ts';
import type { AddressSpaceFields, MappedFile, MemoryArea, MemoryImage } from '../image/types.ts';
import type { ProcessMemory } from '../linux/memory.ts';
import type { PageFinder, PageSpan } from '../linux/pagemap.ts';
import {
  parseMaps,
  parseSmaps,
  readProc,
  readProcBytes,
  readStat,
  readStatus,
  type SmapsEntry,
  type StatusFile,
} from '../linux/procfs.ts';
import { isSpecialArea, readVdso } from '../linux/vdso.ts';
import { describeArea } from './areas.ts';
import { type ForkAdvice, forkAdvice } from './clone.ts';
import type { MappedFiles } from './mapped-files.ts';
import { isSameSpace } from './same-space.ts';

/** Everything of {@link MemoryImage} but the pages. */
export type AddressSpace = Omit<MemoryImage, 'pageBytes'>;

/** The areas of a process, or why it cannot be moved. */
export type AreaSurvey = {
  readonly areas: readonly MemoryArea[];
  readonly specials: MemoryImage['specials'];
  readonly files: readonly MappedFile[];
  readonly refusals: readonly string[];
};

/** Of one process at one moment, with what it takes to inject a call there. */
export type ProcessSurvey = AreaSurvey & {
  /** Of a `syscall` instruction in the vdso. */
  readonly syscallSite: bigint;
  /** See Vdso. */
  readonly faultsBehind: boolean;
  /** What a fork takes. */
  readonly forkAdvice: ForkAdvice;
};

/** @param tracked whether this program itself has the writes to memory noted. */
export function surveyAreas(entries: readonly SmapsEntry[], mappedFiles: MappedFiles, tracked = false): AreaSurvey {
  const files: MappedFile[] = [];
  const areas: MemoryArea[] = [];
  const specials: { name: string; start: bigint; end: bigint }[] = [];
  const refusals: string[] = [];
  const fileIndex = (entry: SmapsEntry): number => {
    const file = mappedFiles.lookUp(entry);
    if ('refused' in file) {
      refusals.push(file.refused);
      return 0;
    }
    const index = files.indexOf(file);
    return index >= 0 ? index : files.push(file) - 1;
  };
  for (const entry of entries) {
    const { name, start, end } = entry;
    // The same page at the same address in every process.
    if (name === '[vsyscall]') continue;
    if (isSpecialArea(name)) {
      specials.push({ name, start, end });
      continue;
    }
    const area = describeArea(entry, fileIndex, tracked);
    if ('refused' in area) refusals.push(area.refused);
    else areas.push(area);
  }
  return { areas, specials, files, refusals: [...new Set(refusals)] };
}

const TRIES = 3;

/**
 * Surveys a process that is about to be stopped. What smaps says takes the kernel long to find out, longer the more memory
 * there is: it is read before the stop, and in the stop only when the areas have changed since.
 */
export class AreaSurveyor {
  readonly #pid: number;
  readonly #mappedFiles: MappedFiles;
  readonly #memory: ProcessMemory;
  #maps = '';
  #survey: ProcessSurvey | null = null;
  #size = '';
  #tracked = false;

  constructor(memory: ProcessMemory, mappedFiles: MappedFiles) {
    this.#pid = memory.pid;
    this.#memory = memory;
    this.#mappedFiles = mappedFiles;
  }

  /**
   * To be called shortly before the process is stopped: advice given to the kernel in between (madvise) goes unseen.
   *
   * @param tracked whether this program itself has the writes to the process's memory noted.
   */
  prepare(tracked: boolean): void {
    this.#tracked = tracked;
    this.#survey = null;
    for (let tries = 0; tries < TRIES && this.#survey === null; tries++) {
      this.#maps = readProc(this.#pid, 'maps');
      const survey = this.#read();
      this.#size = readStatus(this.#pid).text('VmSize');
      if (readProc(this.#pid, 'maps') === this.#maps) this.#survey = survey;
    }
  }

  /**
   * The areas as they were before the stop, where there is no sign that they have changed; {@link wereSame} finds out. Null
   * where they have.
   *
   * @param status of the process, which is stopped.
   */
  assumed(status: StatusFile): ProcessSurvey | null {
    return status.text('VmSize') === this.#size ? this.#survey : null;
  }

  /**
   * Whether what {@link assumed} gave was true of the process that `clone` was made of. An area that a fork leaves behind and
   * that was not known is not in the clone; but then the size of the address space was another one.
   *
   * @param agent the engine's own area, which both have.
   */
  wereSame(clone: number, agent: { readonly base: bigint; readonly size: bigint }): boolean {
    return isSameSpace(parseMaps(this.#maps), parseMaps(readProc(clone, 'maps')), agent);
  }

  /** The areas of the process, which is stopped. */
  survey(): ProcessSurvey {
    if (this.#survey !== null && readProc(this.#pid, 'maps') === this.#maps) return this.#survey;
    return this.#read();
  }

  #read(): ProcessSurvey {
    const survey = surveyAreas(parseSmaps(readProc(this.#pid, 'smaps')), this.#mappedFiles, this.#tracked);
    const { syscallSite, faultsBehind } = readVdso(survey.specials, this.#memory);
    // A program may have put something where nothing is otherwise.
    const isFirstPageFree = survey.areas.every(({ start }) => start !== 0n);
    return { ...survey, syscallSite, faultsBehind: faultsBehind && isFirstPageFree, forkAdvice: forkAdvice(survey) };
  }
}

/** @throws ComicranError process.unsupported */
export function refuseAreas(pid: number, { refusals }: AreaSurvey): void {
  if (refusals.length > 0) throw new ComicranError('process.unsupported', `process ${pid} has ${refusals.join(', ')}`);
}

/**
 * @param pid the process, or a clone of it.
 * @param survey of the stopped process, without areas of the engine's own.
 * @param brk the end of the heap, which the process itself has been asked for.
 */
export function captureAddressSpace(pid: number, survey: AreaSurvey, brk: bigint): AddressSpace {
  const { areas, specials, files } = survey;
  return { areas, specials, files, fields: readFields(pid, brk), auxv: readProcBytes(pid, 'auxv') };
}

function readFields(pid: number, brk: bigint): AddressSpaceFields {
  const stat = readStat(pid);
  const field = (number: number): bigint => BigInt(stat.text(number));
  return {
    startCode: field(26),
    endCode: field(27),
    startStack: field(28),
    startData: field(45),
    endData: field(46),
    startBrk: field(47),
    brk,
    argStart: field(48),
    argEnd: field(49),
    envStart: field(50),
    envEnd: field(51),
  };
}

/** The pages of private areas that the destination cannot get from files: ascending, not overlapping. */
export function findPages(areas: readonly MemoryArea[], finder: PageFinder): PageSpan[] {
  const spans: PageSpan[] = [];
  for (const { start, end } of merged(areas)) spans.push(...finder.ownPages(start, end));
  return spans;
}

/** Areas that touch, as one: fewer calls. */
function merged(areas: readonly MemoryArea[]): PageSpan[] {
  const runs: PageSpan[] = [];
  for (const { start, end } of areas) {
    const last = runs.at(-1);
    if (last !== undefined && last.end === start) runs[runs.length - 1] = { start: last.start, end };
    else runs.push({ start, end });
  }
  return runs;
}
