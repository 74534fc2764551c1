/** A look at a process that runs: everything that cannot be moved is found before the process is touched. */
import { ComicranError } from '../base/errors.ts';
import { ESRCH, KernelError } from '../linux/errno.ts';
import type { FileLooks } from '../linux/file-digest.ts';
import { listChildren, listThreads, parseSmaps, readProc } from '../linux/procfs.ts';
import type { InheritedPipe } from './descriptors/capture.ts';
import { inspectDescriptors } from './descriptors/inspect.ts';
import type { CaptureFault, Faults } from './faults.ts';
import type { MappedFiles } from './mapped-files.ts';
import { surveyAreas } from './memory.ts';
import { findPlaceProblems, findProcessProblems, findThreadProblems } from './problems.ts';

/** How often a process is looked at whose threads end meanwhile. */
const LOOKS = 20;

export type Inspection = {
  readonly pid: number;
  readonly pidfd: number;
  readonly files: FileLooks;
  readonly mappedFiles: MappedFiles;
  readonly inherited: readonly InheritedPipe[];
  readonly written: readonly string[];
  /** A process whose namespaces are those of the sandbox; null: not compared. */
  readonly sandboxInit: number | null;
  readonly faults: Faults<CaptureFault>;
};

/** @throws ComicranError process.unsupported, naming everything that cannot be moved; process.gone. */
export function inspectProcess(inspection: Inspection): void {
  const { pid, pidfd, mappedFiles, inherited, written, faults } = inspection;
  const problems = [
    ...findProcessProblems(pid),
    ...findChildren(pid),
    ...findThreadProblems(pid),
    ...findPlaceProblems(pid, inspection.files, inspection.sandboxInit),
    ...surveyAreas(parseSmaps(readProc(pid, 'smaps')), mappedFiles).refusals.map((area) => `it has ${area}`),
  ];
  if (problems.length > 0)
    throw new ComicranError('process.unsupported', `process ${pid} cannot be moved: ${problems.join('; ')}`, {
      hint: 'Change the program or its configuration such that it does without, or move it when it is not so.',
    });
  faults.reach('inspect.process');
  for (let look = 1; ; look++) {
    try {
      inspectDescriptors({ pid, pidfd, threads: listThreads(pid), inherited, written });
      break;
    } catch (error) {
      // A thread has ended while it was looked at.
      if (look === LOOKS || !(error instanceof KernelError) || error.errno !== ESRCH) throw error;
    }
  }
  faults.reach('inspect.descriptors');
}

export function findChildren(pid: number): string[] {
  const children = listChildren(pid);
  return children.length === 0 ? [] : [`it has child processes (${children.join(', ')})`];
}
