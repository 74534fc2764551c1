/** Begins to restore an image, once it is known that it can be restored here. */
import { decodeProcessImage } from '../image/codec.ts';
import type { ProcessImage } from '../image/types.ts';
import { FileLooks } from '../linux/file-digest.ts';
import { readIdMaps } from '../linux/id-map.ts';
import type { KernelFacts } from '../linux/kernel-facts.ts';
import { NO_RESTORE_FAULTS, type RestoreFaults } from './faults.ts';
import { checkFiles, checkIds, checkPlatform } from './platform.ts';
import { RestoringProcess } from './restoring.ts';

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

/** Where the hatchery of a jailor has them. */
export const STANDARD_PIPES: ReadonlyMap<string, number> = new Map([
  ['stdin', 0],
  ['stdout', 1],
  ['stderr', 2],
]);

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

/** @throws as {@link checkedImage} */
export function newProcess(imageBytes: Uint8Array, hatcheryPid: number, options: RestoreOptions): RestoringProcess {
  const image = checkedImage(imageBytes, hatcheryPid, options);
  const faults = options.faults ?? NO_RESTORE_FAULTS;
  faults.reach('restore.checked');
  return new RestoringProcess(image, options.facts, faults);
}

/**
 * An image that can be restored in the sandbox of the hatchery.
 *
 * @throws ComicranError image.invalid, image.kernel-mismatch, process.unsupported
 */
export function checkedImage(imageBytes: Uint8Array, hatcheryPid: number, options: RestoreOptions): ProcessImage {
  const image = decodeProcessImage(imageBytes);
  checkPlatform(image.platform, options.facts);
  checkIds(image.process.ids, readIdMaps(hatcheryPid));
  const files = options.files ?? new FileLooks();
  checkFiles(image.memory.files, (path) => files.look(`/proc/${hatcheryPid}/root${path}`));
  return image;
}
