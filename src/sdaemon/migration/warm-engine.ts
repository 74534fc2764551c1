/**
 * Runs the engine before it is needed. Code that has never run is compiled while it runs: the first process would be
 * stopped for several times as long as the later ones.
 */
import type { Snapshot } from '../../checkpoint/snapshot.ts';
import { openSource, type Source } from '../../checkpoint/source.ts';
import { decodeProcessImage } from '../../image/codec.ts';
import { FileLooks } from '../../linux/file-digest.ts';
import type { KernelFacts } from '../../linux/kernel-facts.ts';
import { closeDescriptor } from '../../linux/pidfd.ts';
import { readStatus } from '../../linux/procfs.ts';
import { openTracker } from '../../paging/tracking/write-tracker.ts';
import { beginRestore, type RestoreOptions } from '../../restore/begin-restore.ts';
import { splitPages } from '../../restore/lazy-areas.ts';
import { beginSketched } from '../../restore/sketched-process.ts';
import { SleepingProcesses, until } from './sleeping-processes.ts';

/** How often; each takes some milliseconds. */
const ROUNDS = 25;

/** Blocks for some tenths of a second. @throws what the engine throws on this machine. */
export function warmEngine(facts: KernelFacts, files: FileLooks): void {
  using processes = SleepingProcesses.start();
  if (processes === null) return;
  const [first, hatchery] = processes.pids;
  let pid = first;
  for (let round = 0; round < ROUNDS; round++)
    pid = moveInPlace(pid, hatchery, { facts, files, lazy: round % 2 === 1 });
}

/** @param options lazy: with memory that may come later, though all of it comes at once here. */
function moveInPlace(pid: number, hatchery: number, options: RestoreOptions & { readonly lazy: boolean }): number {
  const { facts, files = new FileLooks(), lazy } = options;
  using source = openSource(pid, { facts, files });
  source.freeze().resume();
  photograph(source);
  photographTracked(source, facts);
  source.prepareStop();
  source.stop().resume();
  const sketch = source.sketch();
  const frozen = source.freeze();
  const { pages } = frozen;
  const bytes = Buffer.alloc(pages.reduce((sum, { length }) => sum + length, 0));
  frozen.readPages(pages, bytes);
  frozen.holdStopped();
  const image = Buffer.from(frozen.image);
  frozen.kill();
  until(() => (isGone(pid) ? true : undefined));
  splitPages(decodeProcessImage(image), pages);
  const how = { facts, files, lazy };
  const restoring = lazy ? beginSketched(sketch, hatchery, how).become(image) : beginRestore(image, hatchery, how);
  for (const [index, { length }] of pages.entries()) {
    const at = pages.slice(0, index).reduce((sum, range) => sum + range.length, 0);
    restoring.writePages([pages[index]!], bytes.subarray(at, at + length));
  }
  if (lazy) closeDescriptor(restoring.takeUserfault());
  restoring.finish();
  restoring.run();
  return restoring.pid;
}

function photograph(source: Source): void {
  using snapshot = source.snapshot({ atStop: () => undefined });
  readFirst(snapshot);
}

/** The same with its memory copied beforehand. */
function photographTracked(source: Source, facts: KernelFacts): void {
  if (facts.writeTracking !== 'userfaultfd') return;
  using tracker = openTracker(source.pid, { facts, inStop: (run) => source.inStop(run) });
  for (let round = 0; round < 2; round++) {
    const [first] = tracker.next().written;
    if (first !== undefined) tracker.read([first], Buffer.alloc(first.length));
  }
  using snapshot = source.snapshot({ copied: tracker, atStop: () => undefined });
  readFirst(snapshot);
}

function readFirst(snapshot: Snapshot): void {
  const [first] = snapshot.pages;
  if (first !== undefined) snapshot.readPages([first], Buffer.alloc(first.length));
}

function isGone(pid: number): boolean {
  try {
    readStatus(pid);
    return false;
  } catch {
    return true;
  }
}
