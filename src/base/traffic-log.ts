/**
 * What travels from the source to the destination of a replicated migration: every datagram that the process gets, in
 * the order in which it gets them, and of every datagram that it sends what it takes to recognise it.
 */

/** A UDP flow as the process sees it. Addresses are 4 bytes in network order. */
export type Flow = {
  readonly localAddress: Uint8Array;
  readonly localPort: number;
  readonly remoteAddress: Uint8Array;
  readonly remotePort: number;
};

export type InputEntry = {
  readonly kind: 'input';
  /** 0, 1, 2… since the mark; of whole datagrams. */
  readonly index: number;
  /** IP packets without a link-layer header, in the order of arrival; several where the datagram came in fragments. */
  readonly frames: readonly Uint8Array[];
};

export type OutputEntry = {
  readonly kind: 'output';
  readonly flow: Flow;
  /** 0, 1, 2… within the flow since the mark. */
  readonly index: number;
  /** Of the payload, in bytes. */
  readonly length: number;
  /** {@link DIGEST_BYTES} bytes: digestOf the payload. */
  readonly digest: Uint8Array;
};

export type LogEntry = InputEntry | OutputEntry;

export const DIGEST_BYTES = 16;
