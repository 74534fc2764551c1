/** seccomp filters: those of the sandbox the process has already, its own are added. */
import { ComicranError } from '../base/errors.ts';
import { filterHeader, readFilters } from '../linux/seccomp.ts';
import { SYS } from '../linux/syscall-numbers.ts';
import type { RemoteCall, Tracee } from '../linux/tracee.ts';

const SECCOMP_SET_MODE_FILTER = 1;
const SECCOMP_FILTER_FLAG_TSYNC = 1;

/**
 * The filters of an image that a process out of the hatchery has not yet, the oldest first.
 *
 * @param wanted the oldest first.
 * @throws ComicranError process.unsupported: it has others.
 */
export function missingFilters(thread: Tracee, wanted: readonly Uint8Array[]): readonly Uint8Array[] {
  const present = readFilters(thread.tid) ?? [];
  if (present.length > wanted.length || !present.every((filter, index) => filter.equals(wanted[index]!)))
    throw new ComicranError('process.unsupported', 'the sandbox of the destination has other seccomp filters', {
      hint: 'Both sandboxes must be made by the same version of this program from the same configuration.',
    });
  return wanted.slice(present.length);
}

/** Calls that add filters to every thread. They bite as soon as the threads are not traced any more. */
export function filterCalls(thread: Tracee, filters: readonly Uint8Array[]): RemoteCall[] {
  return filters.map((filter) => ({
    what: 'add a seccomp filter',
    number: SYS.seccomp,
    args: [SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, thread.put(filterHeader(filter, thread.put(filter)))],
  }));
}
