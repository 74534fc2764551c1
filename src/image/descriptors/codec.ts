import { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { checkTable } from './check.ts';
import { KIND_CODECS } from './kinds.ts';
import { MAX_CARRIED_BYTES, MAX_DESCRIPTOR_NUMBER, MAX_PATH_BYTES, MAX_PIPE_BYTES } from './limits.ts';
import type { CarriedFileImage, DescriptionImage, DescriptorImage, DescriptorTableImage, PipeImage } from './types.ts';

/**
 * The bytes of a descriptor table, little-endian:
 *
 *     u32 magic "CRdt", u16 version
 *     list of pipes, list of carried files
 *     list of descriptions: u8 kind, u8 version of the kind, u32 flags, u32 length, that many bytes of the kind's own
 *     list of descriptors: u32 number, u32 description, bool close-on-exec
 */
const MAGIC = 0x7464_5243;
const VERSION = 2;

/** What decoding needs of a kind, whichever it is. */
type AnyCodec = {
  readonly tag: number;
  readonly version: number;
  readonly read: (reader: ByteReader, flags: number) => DescriptionImage;
};
const BY_TAG = new Map<number, AnyCodec>(Object.values(KIND_CODECS).map((codec) => [codec.tag, codec]));

export function encodeDescriptorTable(table: DescriptorTableImage): Buffer {
  const writer = new ByteWriter();
  writer.u32(MAGIC).u16(VERSION);
  writer.list(table.pipes, (pipe) => writePipe(writer, pipe));
  writer.list(table.carriedFiles, (file) => writeCarriedFile(writer, file));
  writer.list(table.descriptions, (description) => writeDescription(writer, description));
  writer.list(table.descriptors, ({ number, description, closeOnExec }) => {
    writer.u32(number).u32(description).bool(closeOnExec);
  });
  return writer.finish();
}

/**
 * The table, checked: every index is in range and every rule of types.ts holds. Byte arrays in it are views of the input.
 * @throws ComicranError image.invalid, and nothing else.
 */
export function decodeDescriptorTable(bytes: Uint8Array): DescriptorTableImage {
  const reader = new ByteReader(bytes, 'descriptor table');
  const magic = reader.u32();
  if (magic !== MAGIC) reader.fail(`magic ${magic.toString(16)} where ${MAGIC.toString(16)} belongs`);
  const version = reader.u16();
  if (version !== VERSION) reader.fail(`version ${version}; this program knows ${VERSION}`);
  const pipes = reader.list(() => readPipe(reader));
  const carriedFiles = reader.list(() => readCarriedFile(reader));
  const descriptions = reader.list(() => readDescription(reader));
  const descriptors = reader.list(() => readDescriptor(reader));
  reader.end();
  const table = { descriptors, descriptions, pipes, carriedFiles };
  const problem = checkTable(table);
  if (problem !== null) reader.fail(problem);
  return table;
}

function writeDescription(writer: ByteWriter, image: DescriptionImage): void {
  const body = new ByteWriter(256);
  const codec = KIND_CODECS[image.kind] as { write: (writer: ByteWriter, image: DescriptionImage) => void } & AnyCodec;
  codec.write(body, image);
  writer.u8(codec.tag).u8(codec.version).u32(image.flags).bytes(body.finish());
}

function readDescription(reader: ByteReader): DescriptionImage {
  const tag = reader.u8();
  const version = reader.u8();
  const codec = BY_TAG.get(tag) ?? reader.fail(`descriptor kind ${tag}, which this program does not know`);
  if (version !== codec.version) {
    reader.fail(`version ${version} of descriptor kind ${tag}; this program knows ${codec.version}`);
  }
  const flags = reader.u32();
  const body = new ByteReader(reader.bytes(), `descriptor of kind ${tag}`);
  const image = codec.read(body, flags);
  body.end();
  return image;
}

function writePipe(writer: ByteWriter, { path, hungUp, capacity, chunks }: PipeImage): void {
  writer.bool(path !== null);
  if (path !== null) writer.text(path);
  writer
    .bool(hungUp)
    .u32(capacity)
    .list(chunks, (chunk) => writer.bytes(chunk));
}

function readPipe(reader: ByteReader): PipeImage {
  const path = reader.bool() ? reader.text(MAX_PATH_BYTES) : null;
  return {
    path,
    hungUp: reader.bool(),
    capacity: reader.u32(),
    chunks: reader.list(() => reader.bytes(MAX_PIPE_BYTES)),
  };
}

function writeCarriedFile(writer: ByteWriter, file: CarriedFileImage): void {
  writer.text(file.path).bool(file.unlinked).u16(file.mode).u32(file.uid).u32(file.gid).bytes(file.contents);
}

function readCarriedFile(reader: ByteReader): CarriedFileImage {
  return {
    path: reader.text(MAX_PATH_BYTES),
    unlinked: reader.bool(),
    mode: reader.u16(),
    uid: reader.u32(),
    gid: reader.u32(),
    contents: reader.bytes(MAX_CARRIED_BYTES),
  };
}

function readDescriptor(reader: ByteReader): DescriptorImage {
  const number = reader.u32();
  if (number > MAX_DESCRIPTOR_NUMBER) reader.fail(`descriptor number ${number}`);
  return { number, description: reader.u32(), closeOnExec: reader.bool() };
}
