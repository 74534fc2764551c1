/**
 * A netlink socket, blocking. It belongs to the network namespace that the calling thread was in when it was
 * opened, for ever; that is how another namespace is worked on: open it inside `inNetns` (netns.ts), use it anywhere.
 */
import { KernelError } from '../errno.ts';
import { syscall, trySyscall } from '../libc.ts';
import { SYS } from '../syscall-numbers.ts';
import { encodeMessage, type Message, NLM_F, NLMSG, parseAcknowledgement, parseMessages } from './wire.ts';

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0x80000;
const NETLINK_ROUTE = 0;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVTIMEO = 20;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const MSG_TRUNC = 0x20;
const EINTR = 4;

/** The kernel answers on the spot; only a bug of this program could make it wait. */
const ANSWER_TIMEOUT_SECONDS = 5;
const RECEIVE_BYTES = 65_536;
const RECEIVE_QUEUE_BYTES = 1 << 20;

/** One change, as data. `flags` are added to REQUEST|ACK. */
export type Change = {
  /** Names the change in errors: "add link cr-1a2b3c4d". */
  readonly what: string;
  readonly type: number;
  readonly flags: number;
  readonly body: Buffer;
};

export class NetlinkSocket {
  readonly #fd: number;
  readonly #receiveBuffer = Buffer.alloc(RECEIVE_BYTES);
  #sequence = 0;
  #closed = false;

  /**
   * In the network namespace of the calling thread. The caller closes it (or uses `using`).
   * @param family one of netlink's own protocol families: {@link NETLINK_ROUTE}.
   */
  constructor(family: number) {
    this.#fd = syscall('socket(AF_NETLINK)', SYS.socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family);
    try {
      const address = Buffer.alloc(12);
      address.writeUInt16LE(AF_NETLINK, 0);
      syscall('bind(AF_NETLINK)', SYS.bind, this.#fd, address, address.length);
      this.#setOption(SOL_NETLINK, NETLINK_EXT_ACK, 1);
      this.#setOption(SOL_NETLINK, NETLINK_CAP_ACK, 1);
      this.#setOption(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
      this.#setOption(SOL_SOCKET, SO_RCVBUF, RECEIVE_QUEUE_BYTES);
      const timeout = Buffer.alloc(16);
      timeout.writeBigInt64LE(BigInt(ANSWER_TIMEOUT_SECONDS), 0);
      syscall('setsockopt(SO_RCVTIMEO)', SYS.setsockopt, this.#fd, SOL_SOCKET, SO_RCVTIMEO, timeout, timeout.length);
    } catch (thrown) {
      this.close();
      throw thrown;
    }
  }

  #setOption(level: number, option: number, value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    syscall(`setsockopt(netlink, ${option})`, SYS.setsockopt, this.#fd, level, option, bytes, bytes.length);
  }

  /** Makes one change. @throws KernelError named by `change.what`, with the kernel's explanation where it gives one. */
  apply(change: Change): void {
    this.applyAll([change]);
  }

  /**
   * Makes changes in one send. Not atomic: the kernel goes on behind a failure. Every answer is read before the first
   * failure is thrown, so that the socket stays usable.
   */
  applyAll(changes: readonly Change[]): void {
    if (changes.length === 0) return;
    const first = this.#sequence + 1;
    const messages = changes.map((change) =>
      encodeMessage(change.type, NLM_F.REQUEST | NLM_F.ACK | change.flags, ++this.#sequence, change.body),
    );
    this.#send(Buffer.concat(messages));
    let failure: KernelError | undefined;
    for (let waiting = changes.length; waiting > 0; ) {
      for (const message of this.#receive()) {
        const change = changes[message.sequence - first];
        // An answer to an earlier request that ran into its time limit.
        if (change === undefined || message.type !== NLMSG.ERROR) continue;
        waiting--;
        failure ??= acknowledgementError(change.what, message);
      }
    }
    if (failure !== undefined) throw failure;
  }

  /** Makes a change of which one kind of failure means "it is so already". @returns false in that case. */
  applyUnless(change: Change, errno: number): boolean {
    try {
      this.apply(change);
      return true;
    } catch (thrown) {
      if (thrown instanceof KernelError && thrown.errno === errno) return false;
      throw thrown;
    }
  }

  /** Asks for one object. The body of the answer is the caller's own copy. @param flags in addition to REQUEST */
  get(what: string, type: number, body: Buffer, flags = 0): Message {
    const sequence = ++this.#sequence;
    this.#send(encodeMessage(type, NLM_F.REQUEST | flags, sequence, body));
    for (;;) {
      for (const message of this.#receive()) {
        if (message.sequence !== sequence) continue;
        if (message.type === NLMSG.ERROR) throw acknowledgementError(what, message) ?? new KernelError(what, 0);
        return { ...message, body: Buffer.from(message.body) };
      }
    }
  }

  /** Asks for all objects of a kind. A list that changed while it was read is read again. */
  dump(what: string, type: number, body: Buffer): Message[] {
    for (;;) {
      const found = this.#dumpOnce(what, type, body);
      if (found !== undefined) return found;
    }
  }

  #dumpOnce(what: string, type: number, body: Buffer): Message[] | undefined {
    const sequence = ++this.#sequence;
    this.#send(encodeMessage(type, NLM_F.REQUEST | NLM_F.DUMP, sequence, body));
    const found: Message[] = [];
    let interrupted = false;
    for (;;) {
      for (const message of this.#receive()) {
        if (message.sequence !== sequence) continue;
        if ((message.flags & NLM_F.DUMP_INTR) !== 0) interrupted = true;
        if (message.type === NLMSG.ERROR) throw acknowledgementError(what, message) ?? new KernelError(what, 0);
        if (message.type === NLMSG.DONE) {
          const errno = message.body.length >= 4 ? -message.body.readInt32LE(0) : 0;
          if (errno !== 0) throw new KernelError(what, errno);
          return interrupted ? undefined : found;
        }
        found.push({ ...message, body: Buffer.from(message.body) });
      }
    }
  }

  #send(bytes: Buffer): void {
    for (;;) {
      const sent = trySyscall(SYS.sendto, this.#fd, bytes, bytes.length, 0, 0, 0);
      if (sent === bytes.length) return;
      if (sent !== -EINTR) throw new KernelError('send to netlink', sent < 0 ? -sent : 0);
    }
  }

  /** The next datagram's messages: views that are valid until the next call. */
  #receive(): Message[] {
    for (;;) {
      const length = trySyscall(SYS.recvfrom, this.#fd, this.#receiveBuffer, RECEIVE_BYTES, MSG_TRUNC, 0, 0);
      if (length === -EINTR) continue;
      if (length < 0) throw new KernelError('receive from netlink', -length);
      if (length > RECEIVE_BYTES) throw new KernelError(`receive from netlink: ${length} bytes at once`, 0);
      return parseMessages(this.#receiveBuffer.subarray(0, length));
    }
  }

  /** Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    trySyscall(SYS.close, this.#fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Links, addresses, routes, rules, neighbours. */
export class RouteSocket extends NetlinkSocket {
  constructor() {
    super(NETLINK_ROUTE);
  }
}

function acknowledgementError(what: string, message: Message): KernelError | undefined {
  const { errno, explanation } = parseAcknowledgement(message);
  if (errno === 0) return undefined;
  return new KernelError(explanation === undefined ? what : `${what} (${explanation})`, errno);
}
