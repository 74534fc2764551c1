/** What the lab keeps on disk. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { initPki } from '../api/pki.ts';
import { ComicranError, messageOf } from '../base/errors.ts';
import { unmount } from '../linux/mount.ts';
import { readMounts } from '../linux/mountinfo.ts';
import { isAlive, type ProcessIdentity } from '../linux/process-identity.ts';
import type { LabLayout } from './layout.ts';
import { removeIfEmpty } from './record.ts';

/** Makes the directories and the certificates; certificates that are all there stay. */
export async function prepareDirectories(layout: LabLayout): Promise<void> {
  mkdirSync(layout.directory, { recursive: true, mode: 0o700 });
  mkdirSync(layout.logs, { recursive: true });
  const names = ['sdn', 'smanager', ...layout.vms.map(({ name }) => name)];
  const files = ['ca.pem', ...names.flatMap((name) => [`${name}.pem`, `${name}.key`])];
  if (files.every((file) => existsSync(join(layout.pki, file)))) return;
  // Half of them, after an `up` that was killed, are of no use: their authority's key may not have been written.
  await initPki({ directory: layout.pki, vms: layout.vms.map(({ name }) => name), force: true });
}

/** Which processes a sandbox's state file names (docs/architecture.md, "State on disk"). */
type RecordedProcesses = Partial<Record<'jailor' | 'init' | 'hatchery' | 'process', ProcessIdentity | null>>;

/** The living processes that the state files of the lab's sandboxes name: their supervisors, and what is inside. */
export function recordedProcesses(layout: LabLayout): { jailors: ProcessIdentity[]; inside: ProcessIdentity[] } {
  const states = layout.sandboxStates.flatMap((state) => {
    const directory = join(state, 'sandboxes');
    if (!existsSync(directory)) return [];
    return readdirSync(directory).flatMap((id): RecordedProcesses[] => {
      try {
        return [JSON.parse(readFileSync(join(directory, id, 'state.json'), 'utf8')) as RecordedProcesses];
      } catch {
        return []; // not written, or not whole
      }
    });
  });
  const living = (processes: readonly (ProcessIdentity | null | undefined)[]): ProcessIdentity[] =>
    processes.filter((one) => one !== null && one !== undefined).filter(isAlive);
  return {
    jailors: living(states.map(({ jailor }) => jailor)),
    inside: living(states.flatMap(({ init, hatchery, process }) => [init, hatchery, process])),
  };
}

/** Removes everything below the lab's directory. @throws ComicranError lab.state where something holds it. */
export function removeDirectories(layout: LabLayout): void {
  // Never through a mount point: behind it may lie files that are not the lab's.
  const mounts = readMounts(process.pid).filter(({ mountPoint }) => mountPoint.startsWith(`${layout.directory}/`));
  try {
    for (const { mountPoint } of mounts.toReversed()) unmount(mountPoint, { detach: true });
    rmSync(layout.directory, { recursive: true, force: true });
  } catch (cause) {
    throw new ComicranError('lab.state', `${layout.directory} could not be removed: ${messageOf(cause)}`, { cause });
  }
  removeIfEmpty(dirname(layout.directory));
}
