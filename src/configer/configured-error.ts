import { ComicranError } from '../base/errors.ts';
import type { Path } from '../base/schema.ts';

/** A failure that something of the base configuration has led to: it can be said where that stands. */
export class ConfiguredError extends ComicranError {
  /** The key: `['files', 3]`. */
  readonly path: Path;

  constructor(path: Path, { code, message, hint, cause }: ComicranError) {
    super(code, message, { ...(hint === undefined ? {} : { hint }), ...(cause === undefined ? {} : { cause }) });
    this.path = path;
  }
}

/** Runs something for one key; a failure is told with it. */
export function forKey<T>(path: Path, run: () => T): T {
  try {
    return run();
  } catch (thrown) {
    throw withKey(path, thrown);
  }
}

export function withKey(path: Path, thrown: unknown): unknown {
  return thrown instanceof ComicranError && !(thrown instanceof ConfiguredError)
    ? new ConfiguredError(path, thrown)
    : thrown;
}
