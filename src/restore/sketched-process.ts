/** A process that is built before there is an image of it, of a sketch (checkpoint/sketch.ts): sketched ──become──► building. */
import { beginRestore, checkedImage, newProcess, type RestoreOptions, STANDARD_PIPES } from './begin-restore.ts';
import type { RestoringProcess } from './restoring.ts';

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
