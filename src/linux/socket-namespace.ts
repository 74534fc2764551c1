/** Which network namespace a socket belongs to: the one of the thread that made it, whoever uses it now. */
import { statSync } from 'node:fs';
import { fileStatus } from './file-descriptors.ts';
import { syscall } from './libc.ts';
import { closeDescriptor } from './pidfd.ts';
import { SOL_SOCKET, tryGetSocketOption } from './sockets.ts';
import { SYS } from './syscall-numbers.ts';

const SO_NETNS_COOKIE = 71;
/** linux/sockios.h. */
const SIOCGSKNS = 0x894c;

/** Inode number of the network namespace of a process. */
function namespaceOfProcess(pid: number): bigint {
  return statSync(`/proc/${pid}/ns/net`, { bigint: true }).ino;
}

/** Inode number of the network namespace of a socket. */
function namespaceOfSocket(socket: number): bigint {
  const namespace = syscall('SIOCGSKNS', SYS.ioctl, socket, SIOCGSKNS, 0);
  try {
    return fileStatus(namespace).inode;
  } finally {
    closeDescriptor(namespace);
  }
}

/** Tells whether sockets are in the network namespace of a process. Asks once for each namespace. */
export class SocketNamespaces {
  readonly #pid: number;
  /** By the cookie of the namespace, which is quicker to get than the namespace. */
  readonly #known = new Map<string, boolean>();

  constructor(pid: number) {
    this.#pid = pid;
  }

  isOwn(socket: number): boolean {
    const value = tryGetSocketOption(socket, SOL_SOCKET, SO_NETNS_COOKIE, 8);
    const cookie = typeof value === 'number' ? null : value.toString('hex');
    const known = cookie === null ? undefined : this.#known.get(cookie);
    if (known !== undefined) return known;
    const own = namespaceOfSocket(socket) === namespaceOfProcess(this.#pid);
    if (cookie !== null) this.#known.set(cookie, own);
    return own;
  }
}
