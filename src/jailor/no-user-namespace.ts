/** What is said where a VM cannot give a sandbox users of its own. */
import { ComicranError } from '../base/errors.ts';
import { EINVAL, ENOSPC, EPERM, KernelError } from '../linux/errno.ts';

const WITHOUT = 'or declare security.userNamespace: false';

/** @param cause why there are no new namespaces. @returns undefined where that is not because of the users. */
export function namespaceRefused(cause: unknown): ComicranError | undefined {
  if (!(cause instanceof KernelError)) return undefined;
  const next = nextStep(cause.errno);
  if (next === undefined) return undefined;
  return new ComicranError('needs.kernel', `the kernel gives no user namespace (${cause.code})`, {
    hint: `${next}, ${WITHOUT}.`,
    cause,
  });
}

/** clone(2) */
function nextStep(errno: number): string | undefined {
  switch (errno) {
    case ENOSPC:
      return "There are as many as there may be: raise 'sysctl user.max_user_namespaces'";
    case EINVAL:
      return 'Run a kernel with CONFIG_USER_NS';
    case EPERM:
      return 'Start it outside of a container or chroot';
    default:
      return undefined;
  }
}

/** @param cause why a directory has no id-mapped view. @returns undefined where that is not because of its file system. */
export function mappingRefused(directory: string, cause: unknown): ComicranError | undefined {
  // mount_setattr(2); kernels before 5.12 have no such call.
  if (!(cause instanceof KernelError) || (cause.errno !== EINVAL && cause.code !== 'ENOSYS')) return undefined;
  return new ComicranError('needs.kernel', `the file system of ${directory} cannot show files under other owners`, {
    hint: `A user namespace needs id-mapped mounts, which ext4, xfs and btrfs have since Linux 5.15: put the directory on one, ${WITHOUT}.`,
    cause,
  });
}
