/** Who is connected to whom: sock_diag(7) of unix sockets, linux/unix_diag.h. */
import { KernelError } from './errno.ts';
import { syscall } from './libc.ts';
import { inNetnsOf } from './netns.ts';
import { O } from './open-flags.ts';
import { closeDescriptor } from './pidfd.ts';
import { AF_NETLINK, AF_UNIX, SOCK_RAW } from './sockets.ts';
import { SYS } from './syscall-numbers.ts';

const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const NLM_F_REQUEST = 1;
const NLMSG_ERROR = 2;
const UDIAG_SHOW_PEER = 4;
const UNIX_DIAG_PEER = 2;
const UNIX_DIAG_SHUTDOWN = 6;
/** TCP_ESTABLISHED of net/tcp_states.h, which unix sockets use too. */
const ESTABLISHED = 1;

const HEADER_BYTES = 16;
/** struct unix_diag_req. */
const REQUEST_BYTES = 24;
/** struct unix_diag_msg: family, type, state, padding, u32 inode, cookie. */
const MESSAGE_BYTES = 16;

type UnixConnection = {
  readonly connected: boolean;
  /** Inode number of the other end; null: it is closed, or there is none. */
  readonly peer: number | null;
  /** 1 receiving, 2 sending. */
  readonly shutdown: number;
};

/** Asks about the sockets in the network namespace of a process. */
export class UnixDiagnosis {
  readonly #socket: number;
  readonly #answer = Buffer.alloc(4096);

  constructor(pid: number) {
    this.#socket = inNetnsOf({ pid }, () =>
      syscall('socket of sock_diag', SYS.socket, AF_NETLINK, SOCK_RAW | O.CLOEXEC, NETLINK_SOCK_DIAG),
    );
  }

  /** @param inode of a unix socket. @throws KernelError ENOENT: there is none of that number. */
  connection(inode: number): UnixConnection {
    const request = Buffer.alloc(HEADER_BYTES + REQUEST_BYTES);
    request.writeUInt32LE(request.length, 0);
    request.writeUInt16LE(SOCK_DIAG_BY_FAMILY, 4);
    request.writeUInt16LE(NLM_F_REQUEST, 6);
    request.writeUInt8(AF_UNIX, HEADER_BYTES);
    request.writeUInt32LE(0xffff_ffff, HEADER_BYTES + 4);
    request.writeUInt32LE(inode, HEADER_BYTES + 8);
    request.writeUInt32LE(UDIAG_SHOW_PEER, HEADER_BYTES + 12);
    // The cookie that matches every socket.
    request.fill(0xff, HEADER_BYTES + 16);
    const what = `sock_diag of socket ${inode}`;
    syscall(what, SYS.sendto, this.#socket, request, request.length, 0, null, 0);
    const length = syscall(what, SYS.recvfrom, this.#socket, this.#answer, this.#answer.length, 0, null, null);
    if (this.#answer.readUInt16LE(4) === NLMSG_ERROR) {
      throw new KernelError(what, -this.#answer.readInt32LE(HEADER_BYTES));
    }
    return this.#decode(length);
  }

  #decode(length: number): UnixConnection {
    const connected = this.#answer.readUInt8(HEADER_BYTES + 2) === ESTABLISHED;
    let peer: number | null = null;
    let shutdown = 0;
    for (let at = HEADER_BYTES + MESSAGE_BYTES; at < length; ) {
      // struct nlattr: u16 length, u16 type; attributes are aligned to 4 bytes.
      const type = this.#answer.readUInt16LE(at + 2);
      if (type === UNIX_DIAG_PEER) peer = this.#answer.readUInt32LE(at + 4) || null;
      if (type === UNIX_DIAG_SHUTDOWN) shutdown = this.#answer.readUInt8(at + 4);
      at += (this.#answer.readUInt16LE(at) + 3) & ~3;
    }
    return { connected, peer, shutdown };
  }

  close(): void {
    closeDescriptor(this.#socket);
  }
}
