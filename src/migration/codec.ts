/**
 * Messages to bytes and back. A message is a tag byte (messages.ts) and its fields, little-endian, in the order in
 * which the type has them; text and lists behind a 32-bit length. The length of the whole is the channel's business, and
 * so is that nobody has changed it on the way.
 *
 * Page and image bytes stand at the end of their message, so that encoding gives two parts and copies neither, and
 * decoding gives views into the bytes that came.
 */
import { assert, unreachable } from '../base/assert.ts';
import { ByteReader, ByteWriter } from '../base/bytes.ts';
import { ComicranError } from '../base/errors.ts';
import {
  readDatagram,
  readEnd,
  readFailure,
  readImage,
  readLogEntry,
  readMode,
  readPages,
  readRanges,
  writeDatagram,
  writeEnd,
  writeFailure,
  writeLogEntry,
  writeRanges,
} from './codec-fields.ts';
import {
  DESTINATION_TAGS,
  type DestinationMessage,
  MAX_LOG_ENTRIES,
  MAX_MESSAGE_BYTES,
  MAX_NAME_BYTES,
  MAX_PART_BYTES,
  type Message,
  SOURCE_TAGS,
  type SourceMessage,
} from './messages.ts';
import { PAGE_KEY_BYTES } from './ports.ts';

/** @returns the message in order, in one part or two: what the type holds, and the raw bytes as they were given. */
export function encodeMessage(message: Message): readonly Uint8Array[] {
  const parts = encodeParts(message);
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  assert(bytes <= MAX_MESSAGE_BYTES, `message ${message.type} of ${bytes} bytes, ${MAX_MESSAGE_BYTES} is the most`);
  return parts;
}

function encodeParts(message: Message): Uint8Array[] {
  const out = new ByteWriter('ranges' in message ? 16 + message.ranges.length * 12 : 256);
  switch (message.type) {
    case 'HELLO':
      out.u8(SOURCE_TAGS.HELLO).u32(message.version).text(message.migrationId).text(message.sandbox).text(message.mode);
      return [out.text(message.source).text(message.destination).u64(message.epoch).finish()];
    case 'IMAGE':
    case 'SKETCH':
      return [out.u8(SOURCE_TAGS[message.type]).u32(message.totalBytes).u32(message.offset).finish(), message.bytes];
    case 'PAGES':
      return [writeRanges(out.u8(SOURCE_TAGS.PAGES), message.ranges).finish(), message.bytes];
    case 'END':
      return [out.u8(SOURCE_TAGS.END).u64(message.pageBytes).finish()];
    case 'TAKE':
      return [out.u8(SOURCE_TAGS.TAKE).u64(message.expectedEpoch).finish()];
    case 'DATAGRAMS':
      out.u8(SOURCE_TAGS.DATAGRAMS).u32(message.first);
      return [out.list(message.datagrams, (datagram) => writeDatagram(out, datagram)).finish()];
    case 'DRAINED':
      return [out.u8(SOURCE_TAGS.DRAINED).u32(message.total).finish()];
    case 'ABORT':
      return [writeFailure(out.u8(SOURCE_TAGS.ABORT), message).finish()];
    case 'HAND_OVER':
      return [out.u8(SOURCE_TAGS.HAND_OVER).u32(message.version).text(message.migrationId).finish()];
    case 'LOG':
      return [
        out
          .u8(SOURCE_TAGS.LOG)
          .list(message.entries, (entry) => writeLogEntry(out, entry))
          .finish(),
      ];
    case 'LOG_END':
      return [out.u8(SOURCE_TAGS.LOG_END).u32(message.inputs).u32(message.outputs).finish()];
    case 'PAGE_SERVER':
      assert(message.address.length === 4, 'a page server whose address is not IPv4');
      assert(message.key.length === PAGE_KEY_BYTES, `a key of ${message.key.length} bytes`);
      out.u8(SOURCE_TAGS.PAGE_SERVER).raw(message.address).u16(message.port);
      return [out.raw(message.key).finish()];
    case 'MISSING':
    case 'OWN':
      return [writeRanges(out.u8(SOURCE_TAGS[message.type]), message.ranges).finish()];
    case 'FREED':
      return [out.u8(SOURCE_TAGS.FREED).finish()];
    case 'WELCOME':
      return [out.u8(DESTINATION_TAGS.WELCOME).u32(message.version).finish()];
    case 'READY':
      out.u8(DESTINATION_TAGS.READY).u32(message.beginMicros).u32(message.pagesMicros);
      return [out.u32(message.finishMicros).finish()];
    case 'OWNED':
      out.u8(DESTINATION_TAGS.OWNED).u64(message.epoch).u32(message.takeMicros);
      return [out.u32(message.runMicros).u32(message.replayed).u32(message.compared).u32(message.released).finish()];
    case 'REPORT':
      out.u8(DESTINATION_TAGS.REPORT).u32(message.injected).u32(message.compared);
      return [out.u32(message.held).finish()];
    case 'FILLING':
      return [out.u8(DESTINATION_TAGS.FILLING).u32(message.missingPages).finish()];
    case 'FILLED':
      out.u8(DESTINATION_TAGS.FILLED).u32(message.faults).u32(message.faultedPages).u32(message.filledPages);
      out.u32(message.faultMicros).u32(message.fillMicros);
      return [writeEnd(out, message.ended).finish()];
    case 'HANDED_OVER':
      return [out.u8(DESTINATION_TAGS.HANDED_OVER).u32(message.injected).u32(message.held).finish()];
    case 'LED':
      return [out.u8(DESTINATION_TAGS.LED).finish()];
    case 'TAKEN':
    case 'SKETCHED':
      return [out.u8(DESTINATION_TAGS[message.type]).finish()];
    case 'FAILED':
      return [writeFailure(out.u8(DESTINATION_TAGS.FAILED), message).finish()];
    case 'RECEIVED':
      return [out.u8(DESTINATION_TAGS.RECEIVED).u64(message.epoch).u32(message.datagrams).finish()];
    case 'GIVEN_BACK':
      return [writeFailure(out.u8(DESTINATION_TAGS.GIVEN_BACK).u64(message.epoch), message).finish()];
    default:
      return unreachable(message);
  }
}

/**
 * @param bytes one whole message; the result may hold views into it.
 * @throws ComicranError peer.protocol
 */
export function decodeSourceMessage(bytes: Uint8Array): SourceMessage {
  const name = nameOfTag(bytes, SOURCE_TAGS, DESTINATION_TAGS);
  const input = reader(bytes, name);
  const message = readSourceMessage(name, input);
  input.end();
  return message;
}

/** The same for the other direction. */
export function decodeDestinationMessage(bytes: Uint8Array): DestinationMessage {
  const name = nameOfTag(bytes, DESTINATION_TAGS, SOURCE_TAGS);
  const input = reader(bytes, name);
  const message = readDestinationMessage(name, input);
  input.end();
  return message;
}

function reader(bytes: Uint8Array, name: string): ByteReader {
  const input = new ByteReader(bytes, `message ${name}`, 'peer.protocol');
  input.u8();
  return input;
}

function readSourceMessage(type: SourceMessage['type'], input: ByteReader): SourceMessage {
  switch (type) {
    case 'HELLO':
      return {
        type,
        version: input.u32(),
        migrationId: input.text(MAX_NAME_BYTES),
        sandbox: input.text(MAX_NAME_BYTES),
        mode: readMode(input),
        source: input.text(MAX_NAME_BYTES),
        destination: input.text(MAX_NAME_BYTES),
        epoch: input.u64(),
      };
    case 'IMAGE':
      return { type, ...readImage(input) };
    case 'SKETCH':
      return { type, ...readImage(input) };
    case 'PAGES':
      return readPages(input);
    case 'END':
      return { type, pageBytes: input.u64() };
    case 'TAKE':
      return { type, expectedEpoch: input.u64() };
    case 'DATAGRAMS':
      return { type, first: input.u32(), datagrams: input.list(() => readDatagram(input), MAX_PART_BYTES) };
    case 'DRAINED':
      return { type, total: input.u32() };
    case 'ABORT':
      return { type, ...readFailure(input) };
    case 'HAND_OVER':
      return { type, version: input.u32(), migrationId: input.text(MAX_NAME_BYTES) };
    case 'LOG':
      return { type, entries: input.list(() => readLogEntry(input), MAX_LOG_ENTRIES) };
    case 'LOG_END':
      return { type, inputs: input.u32(), outputs: input.u32() };
    case 'PAGE_SERVER':
      return { type, address: input.raw(4), port: input.u16(), key: input.raw(PAGE_KEY_BYTES) };
    case 'MISSING':
    case 'OWN':
      return { type, ranges: readRanges(input) };
    case 'FREED':
      return { type };
    default:
      return unreachable(type);
  }
}

function readDestinationMessage(type: DestinationMessage['type'], input: ByteReader): DestinationMessage {
  switch (type) {
    case 'WELCOME':
      return { type, version: input.u32() };
    case 'READY':
      return { type, beginMicros: input.u32(), pagesMicros: input.u32(), finishMicros: input.u32() };
    case 'OWNED':
      return {
        type,
        epoch: input.u64(),
        takeMicros: input.u32(),
        runMicros: input.u32(),
        replayed: input.u32(),
        compared: input.u32(),
        released: input.u32(),
      };
    case 'REPORT':
      return { type, injected: input.u32(), compared: input.u32(), held: input.u32() };
    case 'FILLING':
      return { type, missingPages: input.u32() };
    case 'FILLED':
      return {
        type,
        faults: input.u32(),
        faultedPages: input.u32(),
        filledPages: input.u32(),
        faultMicros: input.u32(),
        fillMicros: input.u32(),
        ended: readEnd(input),
      };
    case 'HANDED_OVER':
      return { type, injected: input.u32(), held: input.u32() };
    case 'LED':
    case 'TAKEN':
    case 'SKETCHED':
      return { type };
    case 'FAILED':
      return { type, ...readFailure(input) };
    case 'RECEIVED':
      return { type, epoch: input.u64(), datagrams: input.u32() };
    case 'GIVEN_BACK':
      return { type, epoch: input.u64(), ...readFailure(input) };
    default:
      return unreachable(type);
  }
}

/** The message's name, where the tag is one of this direction. */
function nameOfTag<Name extends string>(
  bytes: Uint8Array,
  known: Readonly<Record<Name, number>>,
  otherWay: Readonly<Record<string, number>>,
): Name {
  const tag = bytes[0];
  if (tag === undefined) throw new ComicranError('peer.protocol', 'a message without a byte');
  if (bytes.length > MAX_MESSAGE_BYTES)
    throw new ComicranError('peer.protocol', `a message of ${bytes.length} bytes, ${MAX_MESSAGE_BYTES} is the most`);
  for (const name in known) if (known[name] === tag) return name;
  const wrongWay = Object.entries(otherWay).find(([, number]) => number === tag)?.[0];
  const tags = Object.entries(known).map(([name, number]) => `${String(number)} ${name}`);
  throw new ComicranError(
    'peer.protocol',
    wrongWay === undefined
      ? `a message with the unknown tag ${tag}; known are ${tags.join(', ')}`
      : `message ${wrongWay} (tag ${tag}) is one of the other direction; known here are ${tags.join(', ')}`,
    { hint: 'Run the same version of comicran on both machines.' },
  );
}
