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

/** @param path what only its owner can read. @param cause why the files below a directory cannot have other owners. */
export function mappingRefused(directory: string, path: string, cause: unknown): ComicranError {
  const problem = `${path} can be read by root alone, and the file system of ${directory} cannot make it that of root inside`;
  return new ComicranError('needs.kernel', problem, {
    hint: `Put the state directory on ext4, xfs or btrfs (id-mapped mounts, Linux 5.15), let everybody read it, ${WITHOUT}.`,
    cause,
  });
}
