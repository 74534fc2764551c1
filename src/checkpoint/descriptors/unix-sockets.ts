import type { UnixSocketImage } from '../../image/descriptors/types.ts';
import { readableBytes } from '../../linux/file-descriptors.ts';
import { type Peeked, peekMessages, peekStream } from '../../linux/peek.ts';
import { UNIX_OPTIONS } from '../../linux/socket-options.ts';
import { localAddress, SOCK_DGRAM, SOCK_SEQPACKET, type SocketType } from '../../linux/sockets.ts';
import { UnixDiagnosis } from '../../linux/unix-diag.ts';
import { socketText } from './socket-names.ts';
import { captureOptions } from './socket-options.ts';
import { type DescriptorSource, type Found, Refusal } from './source.ts';

const SHUT_RECEIVING = 1;
/** A struct sockaddr_un without a name is its family alone. */
const UNNAMED_BYTES = 2;
/** Longest message that a datagram socket is read with. */
const MAX_MESSAGE_BYTES = 1 << 20;

/** Captures unix sockets whose whole connection is in the process: pairs, what is left of a pair, and unused ones. */
export class UnixSocketCapture {
  readonly #source: DescriptorSource;
  readonly #found: readonly Found[];
  #diagnosis: UnixDiagnosis | null = null;

  /** @param found the whole table, in the order of the image. */
  constructor(source: DescriptorSource, found: readonly Found[]) {
    this.#source = source;
    this.#found = found;
  }

  capture({ number, link, flags }: Found, type: SocketType): UnixSocketImage {
    const copy = this.#source.copy(number);
    const name = socketText(copy, type);
    if (localAddress(copy).length > UNNAMED_BYTES) throw new Refusal(number, name);
    this.#diagnosis ??= new UnixDiagnosis(this.#source.pid);
    const { connected, peer, shutdown } = this.#diagnosis.connection(Number(/\d+/.exec(link)?.[0]));
    const other = peer === null ? null : this.#found.findIndex((each) => each.link === `socket:[${peer}]`);
    if (other === -1) throw new Refusal(number, `${name}, whose other end is in another process`);
    const options = captureOptions(copy, number, name, UNIX_OPTIONS);
    const waiting = this.#source.context.running ? [] : peekAll(copy, type, shutdown);
    if (waiting.some(({ withControl }) => withControl)) {
      throw new Refusal(number, `${name}, with a message that carries descriptors or credentials`);
    }
    return {
      kind: 'unix-socket',
      flags,
      type: type.type === SOCK_DGRAM ? 'datagram' : type.type === SOCK_SEQPACKET ? 'seqpacket' : 'stream',
      connected,
      peer: other,
      shutdown,
      options,
      chunks: waiting.map(({ bytes }) => bytes),
    };
  }

  close(): void {
    this.#diagnosis?.close();
  }
}

function peekAll(copy: number, { type }: SocketType, shutdown: number): Peeked[] {
  if (type === SOCK_DGRAM || type === SOCK_SEQPACKET) {
    return peekMessages(copy, MAX_MESSAGE_BYTES, (shutdown & SHUT_RECEIVING) !== 0);
  }
  const length = readableBytes(copy);
  const bytes = length === 0 ? null : peekStream(copy, length);
  return bytes === null ? [] : [bytes];
}
