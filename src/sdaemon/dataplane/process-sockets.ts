/** The UDP sockets of another process, through copies of its descriptors. */
import { DescriptorDirectory } from '../../linux/descriptor-directory.ts';
import { EBADF, ENOENT, ESRCH, KernelError } from '../../linux/errno.ts';
import { closeDescriptor, duplicateFrom, openPidfd } from '../../linux/pidfd.ts';
import { AF_INET, AF_INET6, IPPROTO_UDP, SOCK_DGRAM, type SocketType, socketType } from '../../linux/sockets.ts';

export type ProcessSocket = {
  /** A descriptor of this process for the same open socket. */
  readonly descriptor: number;
  /** Of the socket: the same one may be open under several numbers. */
  readonly inode: string;
  /** AF_INET, … */
  readonly domain: number;
};

const SOCKET_LINK = /^socket:\[(\d+)\]$/;

/**
 * Every UDP socket that a process has, once each, by ascending descriptor number. The process may run. The caller closes
 * them with {@link closeSockets}. @throws KernelError ESRCH, ENOENT: no such process
 */
export function openUdpSockets(pid: number): ProcessSocket[] {
  return openSockets(pid, isUdp);
}

const isUdp = ({ domain, type, protocol }: SocketType): boolean =>
  (domain === AF_INET || domain === AF_INET6) && type === SOCK_DGRAM && protocol === IPPROTO_UDP;

/** The same of all sockets that are wanted. */
export function openSockets(pid: number, isWanted: (type: SocketType) => boolean): ProcessSocket[] {
  using directory = new DescriptorDirectory(pid);
  const pidfd = openPidfd(pid);
  const found = new Map<string, ProcessSocket>();
  try {
    for (const number of directory.numbers()) {
      const inode = unlessClosed(() => SOCKET_LINK.exec(directory.link(number).toString('latin1'))?.[1]);
      if (inode === undefined || found.has(inode)) continue;
      const descriptor = unlessClosed(() => duplicateFrom(pidfd, number));
      if (descriptor === undefined) continue;
      const type = socketType(descriptor);
      if (isWanted(type)) found.set(inode, { descriptor, inode, domain: type.domain });
      else closeDescriptor(descriptor);
    }
    return Array.from(found.values());
  } catch (thrown) {
    closeSockets(Array.from(found.values()));
    throw thrown;
  } finally {
    closeDescriptor(pidfd);
  }
}

export function closeSockets(sockets: readonly ProcessSocket[]): void {
  for (const { descriptor } of sockets) closeDescriptor(descriptor);
}

/** A process that runs may close a descriptor between two looks. */
function unlessClosed<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (thrown) {
    if (thrown instanceof KernelError && [EBADF, ENOENT, ESRCH].includes(thrown.errno)) return undefined;
    throw thrown;
  }
}
