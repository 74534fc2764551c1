/**
 * The outer form of a process image, little-endian:
 *
 *     8 bytes  magic "CRIMAGE" and 0x1a
 *     u16      version of this envelope
 *     u16      number of sections
 *     section  u16 tag, u16 version of the section, u32 length, that many bytes
 *     …
 *     u32      CRC-32 of everything before it
 *
 * A tag is written once. The number and the version of every section stand in front of its bytes, so that what is not
 * known can be named.
 */
import { crc32 } from 'node:zlib';
import { ByteReader, ByteWriter } from '../base/bytes.ts';

const MAGIC = Buffer.from('CRIMAGE\x1a', 'latin1');
const VERSION = 1;
const MAX_SECTIONS = 64;

export type Section = { readonly tag: number; readonly version: number; readonly bytes: Uint8Array };

export function packSections(sections: readonly Section[]): Buffer {
  const writer = new ByteWriter(sections.reduce((sum, { bytes }) => sum + bytes.length + 8, 16));
  writer.raw(MAGIC).u16(VERSION).u16(sections.length);
  for (const { tag, version, bytes } of sections) writer.u16(tag).u16(version).bytes(bytes);
  const body = writer.finish();
  return Buffer.concat([body, new ByteWriter(4).u32(crc32(body)).finish()]);
}

/** The sections by tag; their bytes are views of the input. @throws ComicranError image.invalid */
export function unpackSections(bytes: Uint8Array): Map<number, Section> {
  const reader = new ByteReader(bytes, 'process image');
  if (!reader.raw(MAGIC.length).equals(MAGIC)) reader.fail('it does not start as a process image does');
  const version = reader.u16();
  if (version !== VERSION) reader.fail(`version ${version}; this program knows ${VERSION}`);
  if (reader.remaining < 6) reader.fail('it is too short');
  const sum = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).readUInt32LE(bytes.length - 4);
  if (crc32(bytes.subarray(0, bytes.length - 4)) !== sum) reader.fail('the checksum does not fit: bytes were changed');

  const count = reader.u16();
  if (count > MAX_SECTIONS) reader.fail(`${count} sections where ${MAX_SECTIONS} are the most`);
  const sections = new Map<number, Section>();
  for (let index = 0; index < count; index++) {
    const tag = reader.u16();
    if (sections.has(tag)) reader.fail(`section ${tag} twice`);
    sections.set(tag, { tag, version: reader.u16(), bytes: reader.bytes() });
  }
  reader.u32();
  reader.end();
  return sections;
}
