/**
 * Namespaces of the calling thread. unshare(2) and setns(2) change the one thread that calls them: other threads of the
 * program stay where they are, and so does libuv's pool, if it exists already.
 */
import { CLONE } from './clone-flags.ts';
import { KernelError } from './errno.ts';
import { cString, syscall, trySyscall } from './libc.ts';
import { closeFd } from './netns.ts';
import { openPidfd } from './pidfd.ts';
import { SYS } from './syscall-numbers.ts';

/** Name under /proc/PID/ns, and the flag of unshare(2) and setns(2). */
const KINDS = {
  mnt: CLONE.NEWNS,
  uts: CLONE.NEWUTS,
  ipc: CLONE.NEWIPC,
  cgroup: CLONE.NEWCGROUP,
  net: CLONE.NEWNET,
  pid: CLONE.NEWPID,
} as const;

export type NamespaceKind = keyof typeof KINDS;

const O_CLOEXEC = 0x80000;
const AT_FDCWD = -100;

/** The namespaces that a thread was in, to come back to. */
export class NamespaceReturn {
  readonly #fds: ReadonlyMap<NamespaceKind, number>;

  /** Of the calling thread. */
  constructor(kinds: readonly NamespaceKind[]) {
    const fds = new Map<NamespaceKind, number>();
    this.#fds = fds;
    try {
      for (const kind of kinds) {
        const path = `/proc/thread-self/ns/${kind}`;
        fds.set(kind, syscall(`open ${path}`, SYS.openat, AT_FDCWD, cString(path), O_CLOEXEC));
      }
    } catch (thrown) {
      this.close();
      throw thrown;
    }
  }

  /**
   * Puts the calling thread back; the same thread as the constructor's. For `pid` this means: new children are made in
   * the thread's own PID namespace again. For `mnt` the working directory becomes `/`.
   */
  comeBack(): void {
    for (const [kind, fd] of this.#fds) syscall(`setns to own ${kind} namespace`, SYS.setns, fd, KINDS[kind]);
  }

  close(): void {
    for (const fd of this.#fds.values()) closeFd(fd);
  }
}

/** Puts the calling thread into namespaces of another process. For `mnt` the working directory becomes its root. */
export function joinNamespacesOf(pid: number, kinds: readonly NamespaceKind[]): void {
  const flags = kinds.reduce((all, kind) => all | KINDS[kind], 0);
  // A thread that shares its root and working directory with others cannot leave the mount namespace (setns(2)).
  if (kinds.includes('mnt')) syscall('unshare(fs)', SYS.unshare, CLONE.FS);
  const pidfd = openPidfd(pid);
  try {
    syscall(`setns(${kinds.join(', ')}) of process ${pid}`, SYS.setns, pidfd, flags);
  } finally {
    closeFd(pidfd);
  }
}

/** In the UTS namespace of the calling thread. */
export function setHostname(name: string): void {
  const bytes = Buffer.from(name, 'utf8');
  const result = trySyscall(SYS.sethostname, bytes, bytes.length);
  if (result < 0) throw new KernelError(`sethostname '${name}'`, -result);
}
