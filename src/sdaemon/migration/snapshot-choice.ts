/** How the snapshot of a process is to be taken. */
import { ComicranError } from '../../base/errors.ts';
import { readProc, StatusFile } from '../../linux/procfs.ts';
import type { SnapshotChoice, SnapshotWay } from '../../migration/snapshot-way.ts';

/** @throws ComicranError migration.refused. @returns undefined: the size of the process decides */
export function checkSnapshot(asked: string): SnapshotWay | undefined {
  if (asked === '' || asked === 'fork' || asked === 'tracked') return asked || undefined;
  throw new ComicranError('migration.refused', `there is no way '${asked}' of taking a snapshot`, {
    hint: 'Ways: fork, tracked.',
  });
}

/** Bytes of a process's own memory that are not in huge pages. */
export function smallPageBytes(pid: number): number {
  const sums = new StatusFile(readProc(pid, 'smaps_rollup'));
  const bytes = (field: string): number => Number.parseInt(sums.text(field), 10) * 1024;
  return bytes('Anonymous') - bytes('AnonHugePages') + bytes('Swap');
}

/** As messages have it. */
export function snapshotFields(choice: SnapshotChoice | undefined): { snapshot?: string; snapshotWhy?: string } {
  return choice === undefined ? {} : { snapshot: choice.way, snapshotWhy: choice.why };
}
