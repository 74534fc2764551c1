/**
 * Network namespaces. Which one a thread is in is a property of the thread, not of the process: everything here works on
 * the calling thread, at once, and is done when it returns. Sockets, descriptors under /proc/sys/net (opened by that
 * thread) and new child processes belong to the namespace that the thread was in when they were made.
 */
import { closeSync, mkdirSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { assert } from '../base/assert.ts';
import { CLONE } from './clone-flags.ts';
import { EINVAL, ENOENT, KernelError } from './errno.ts';
import { cString, syscall, trySyscall } from './libc.ts';
import { MS, mount, unmount } from './mount.ts';
import { SYS } from './syscall-numbers.ts';

const O_RDONLY = 0;
const O_CLOEXEC = 0x80000;
const AT_FDCWD = -100;

/** Where iproute2 keeps namespaces that have a name (ip-netns(8)). */
const NAMED_NETNS_DIRECTORY = '/run/netns';

export type NetnsRef = { readonly pid: number } | { readonly path: string } | { readonly name: string };

export function netnsPath(reference: NetnsRef): string {
  if ('pid' in reference) return `/proc/${reference.pid}/ns/net`;
  if ('name' in reference) return `${NAMED_NETNS_DIRECTORY}/${reference.name}`;
  return reference.path;
}

/** A descriptor of a network namespace (close-on-exec), which lives at least as long. The caller closes it: closeFd. */
export function openNetns(reference: NetnsRef): number {
  const path = netnsPath(reference);
  return syscall(`open ${path}`, SYS.openat, AT_FDCWD, cString(path), O_RDONLY | O_CLOEXEC);
}

/** A descriptor of the calling thread's network namespace. The caller closes it. */
export function openOwnNetns(): number {
  return openNetns({ path: '/proc/thread-self/ns/net' });
}

/** Closes a descriptor that was not opened by Node's `fs`. */
export function closeFd(fd: number): void {
  trySyscall(SYS.close, fd);
}

function setns(fd: number): void {
  syscall(`setns(${fd}, CLONE_NEWNET)`, SYS.setns, fd, CLONE.NEWNET);
}

/**
 * Runs a function with the calling thread in another network namespace, and comes back also when it throws. The function
 * is synchronous: anything that it leaves for later (a promise, a socket of `node:dgram` that is not bound yet) would run
 * in the old namespace.
 */
export function inNetns<T>(fd: number, run: () => T): T {
  const own = openOwnNetns();
  try {
    setns(fd);
    try {
      const result = run();
      assert(!(result instanceof Promise), 'what runs in another network namespace must be synchronous');
      return result;
    } finally {
      setns(own);
    }
  } finally {
    closeFd(own);
  }
}

/** As {@link inNetns}, for a namespace that is opened for this one call. */
export function inNetnsOf<T>(reference: NetnsRef, run: () => T): T {
  const fd = openNetns(reference);
  try {
    return inNetns(fd, run);
  } finally {
    closeFd(fd);
  }
}

/**
 * Puts the calling thread into a network namespace for good: a program that talks from there, a worker that opens its
 * sockets there. libuv's pool follows the thread that uses it first : on the main thread call it before
 * anything asynchronous, in a worker after the main thread has used the pool.
 */
export function enterNetworkNamespace(reference: NetnsRef): void {
  const fd = openNetns(reference);
  try {
    setns(fd);
  } finally {
    closeFd(fd);
  }
}

/** A new, empty network namespace, as a descriptor: it is gone when nothing holds it any more. The caller closes it. */
export function createNetns(): number {
  const own = openOwnNetns();
  try {
    syscall('unshare(CLONE_NEWNET)', SYS.unshare, CLONE.NEWNET);
    try {
      return openOwnNetns();
    } finally {
      setns(own);
    }
  } finally {
    closeFd(own);
  }
}

/** Makes a network namespace that has a name, as `ip netns add` does. Fails with EEXIST when the name is taken. */
export function addNamedNetns(name: string): void {
  mkdirSync(NAMED_NETNS_DIRECTORY, { recursive: true });
  const path = netnsPath({ name });
  const placeholder = openSync(path, 'wx', 0o444);
  closeSync(placeholder);
  const own = openOwnNetns();
  try {
    syscall('unshare(CLONE_NEWNET)', SYS.unshare, CLONE.NEWNET);
    try {
      mount({ source: '/proc/thread-self/ns/net', target: path, flags: MS.BIND });
    } finally {
      setns(own);
    }
  } catch (thrown) {
    rmSync(path, { force: true });
    throw thrown;
  } finally {
    closeFd(own);
  }
}

/** Takes the name away; the namespace goes when the last process and socket in it does. No such name is no failure. */
export function deleteNamedNetns(name: string): void {
  const path = netnsPath({ name });
  try {
    unmount(path, { detach: true });
  } catch (thrown) {
    // EINVAL: a file that nothing is mounted on, left by a maker that died in between. ENOENT: no such name.
    if (!(thrown instanceof KernelError) || (thrown.errno !== EINVAL && thrown.errno !== ENOENT)) throw thrown;
  }
  rmSync(path, { force: true });
}

export function listNamedNetns(): string[] {
  try {
    return readdirSync(NAMED_NETNS_DIRECTORY).toSorted();
  } catch {
    return [];
  }
}

/** Sets one of /proc/sys/net of the calling thread's namespace: `ipv4/ip_forward`. */
export function setNetSysctl(key: string, value: string | number): void {
  writeFileSync(`/proc/sys/net/${key}`, `${value}\n`);
}
