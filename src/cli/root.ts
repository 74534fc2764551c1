/** What is said where root is needed and missing. */
import { ComicranError } from '../base/errors.ts';

const HINT = 'Run the same command as root, for example with sudo.';

const isRoot = (): boolean => process.geteuid?.() === 0;

/** @param why a sentence without a full stop: `the lab needs root: it makes network namespaces`. @throws ComicranError needs.root */
export function needRoot(why: string): void {
  if (!isRoot()) throw new ComicranError('needs.root', why, { hint: HINT });
}

/** The failure as it is to be reported: one without a next step that the kernel's permissions have caused gets that step. */
export function explainPermission(thrown: unknown): unknown {
  if (isRoot() || !(thrown instanceof Error)) return thrown;
  if (thrown instanceof ComicranError && thrown.hint !== undefined) return thrown;
  const denied = [thrown, thrown.cause].some((error) => {
    const { code } = (error ?? {}) as NodeJS.ErrnoException;
    return code === 'EACCES' || code === 'EPERM';
  });
  return denied ? new ComicranError('needs.root', thrown.message, { hint: HINT, cause: thrown.cause }) : thrown;
}
