/** A look at a process that runs: everything that cannot be moved is found before the process is touched. */
import { ComicranError } from '../base/errors.ts';
import { listChildren, listThreads, parseSmaps, readProc } from '../linux/procfs.ts';
import type { InheritedPipe } from './descriptors/capture.ts';
import { inspectDescriptors } from './descriptors/inspect.ts';
import type { CaptureFault, Faults } from './faults.ts';
import type { MappedFiles } from './mapped-files.ts';
import { surveyAreas } from './memory.ts';

export type Inspection = {
  readonly pid: number;
  readonly pidfd: number;
  readonly mappedFiles: MappedFiles;
  readonly inherited: readonly InheritedPipe[];
  readonly faults: Faults<CaptureFault>;
};

/** @throws ComicranError process.unsupported, naming everything that cannot be moved. */
export function inspectProcess({ pid, pidfd, mappedFiles, inherited, faults }: Inspection): void {
  const problems: string[] = [];
  const children = listChildren(pid);
  if (children.length > 0) problems.push(`child processes (${children.join(', ')})`);
  problems.push(...surveyAreas(parseSmaps(readProc(pid, 'smaps')), mappedFiles).refusals);
  if (problems.length > 0) throw new ComicranError('process.unsupported', `process ${pid} has ${problems.join(', ')}`);
  faults.reach('inspect.process');
  inspectDescriptors({ pid, pidfd, threads: listThreads(pid), inherited });
  faults.reach('inspect.descriptors');
}
