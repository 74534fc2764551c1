/** The encrypted channel of a migration, with its messages. */

import { ipv4Bytes } from '../../base/ipv4.ts';
import { decodeDestinationMessage, decodeSourceMessage, encodeMessage } from '../../migration/codec.ts';
import { type DestinationMessage, MAX_MESSAGE_BYTES, type SourceMessage } from '../../migration/messages.ts';
import type { Channel } from '../../migration/ports.ts';
import { SecureChannel } from '../channel/channel.ts';
import { type ConnectionOptions, connectToPeer, PeerListener } from '../channel/establish.ts';
import type { Readiness } from '../readiness.ts';
import type { ChannelAddress } from './job.ts';

const optionsFor = (key: Uint8Array, readiness: Readiness): ConnectionOptions => ({
  ...{ key, readiness, maxMessageBytes: MAX_MESSAGE_BYTES },
});

export async function connectAsSource(
  { address, port, key }: ChannelAddress,
  readiness: Readiness,
  timeoutMs: number,
): Promise<Channel<SourceMessage, DestinationMessage>> {
  const peer = { address: Buffer.from(ipv4Bytes(address)), port };
  const connection = await connectToPeer(peer, timeoutMs, optionsFor(key, readiness));
  const codec = { encode: encodeMessage, decode: decodeDestinationMessage };
  return new SecureChannel<SourceMessage, DestinationMessage>(connection, codec, MAX_MESSAGE_BYTES, readiness);
}

/** Where the destination waits for its source. The caller closes it. */
export class SourceListener {
  readonly #listener: PeerListener;
  readonly #readiness: Readiness;

  /** @param port where an earlier run of the daemon listened; 0: any free one. */
  constructor(address: string, key: Uint8Array, readiness: Readiness, port = 0) {
    this.#readiness = readiness;
    this.#listener = new PeerListener({ address: Buffer.from(ipv4Bytes(address)), port }, optionsFor(key, readiness));
  }

  get port(): number {
    return this.#listener.port;
  }

  async accept(timeoutMs: number): Promise<Channel<DestinationMessage, SourceMessage>> {
    const connection = await this.#listener.accept(timeoutMs);
    const codec = { encode: encodeMessage, decode: decodeSourceMessage };
    return new SecureChannel<DestinationMessage, SourceMessage>(connection, codec, MAX_MESSAGE_BYTES, this.#readiness);
  }

  close(): void {
    this.#listener.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
