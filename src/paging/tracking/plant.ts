/** A userfaultfd for another process. */
import { ComicranError } from '../../base/errors.ts';
import { EMFILE, errnoName } from '../../linux/errno.ts';
import { getDescriptor } from '../../linux/pidfd.ts';
import { SYS } from '../../linux/syscall-numbers.ts';
import type { Tracee } from '../../linux/tracee.ts';
import { USER_MODE_ONLY, USERFAULTFD_FLAGS } from '../../linux/userfaultfd.ts';

/**
 * Makes a userfaultfd in a process all of whose threads are stopped, and takes it out of it. It is for noticing writes only:
 * it does not serve faults inside system calls, which is why also an unprivileged process and one in a user namespace may
 * make it.
 *
 * @returns a descriptor of this program's, which the caller closes. The process has none.
 */
export function plantUserfaultfd(main: Tracee): number {
  const { pid } = main.process;
  const made = Number(main.callAtSite(SYS.userfaultfd, USERFAULTFD_FLAGS | USER_MODE_ONLY));
  if (made < 0)
    throw new ComicranError('process.trace', `no userfaultfd in process ${pid}: ${errnoName(-made)}`, {
      ...(made === -EMFILE ? { hint: 'The process has as many open files as it may. Raise its limit.' } : {}),
    });
  try {
    return getDescriptor(pid, made);
  } finally {
    main.callAtSite(SYS.close, made);
  }
}
