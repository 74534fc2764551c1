import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { readExact, readPath, readRange } from '../fields.ts';
import { type AddressSpaceFields, AREA_FLAGS, type MappedFile, type MemoryArea, type MemoryImage } from '../types.ts';

export const MEMORY_VERSION = 1;
/** vm.max_map_count is 65,530 unless raised. */
const MAX_AREAS = 1 << 20;
const MAX_AUXV_BYTES = 4096;
const DIGEST_BYTES = 32;
const NO_FILE = 0xffff_ffff;
const SPECIALS = ['[vvar]', '[vvar_vclock]', '[vdso]'];

export function writeMemory(writer: ByteWriter, image: MemoryImage): void {
  writer.list(image.areas, (area) => {
    writer.u64(area.start).u64(area.end).u8(area.protection).u32(area.flags);
    writer
      .u32(area.file ?? NO_FILE)
      .u64(area.fileOffset)
      .text(area.name);
  });
  writer.list(image.specials, ({ name, start, end }) => writer.text(name).u64(start).u64(end));
  writer.list(image.files, ({ path, size, headDigest }) => writer.text(path).u64(size).bytes(headDigest));
  for (const field of FIELD_ORDER) writer.u64(image.fields[field]);
  writer.bytes(image.auxv).u64(image.pageBytes);
}

const FIELD_ORDER = [
  'startCode',
  'endCode',
  'startData',
  'endData',
  'startBrk',
  'brk',
  'startStack',
  'argStart',
  'argEnd',
  'envStart',
  'envEnd',
] as const satisfies readonly (keyof AddressSpaceFields)[];

export function readMemory(reader: ByteReader): MemoryImage {
  const areas = reader.list(() => readArea(reader), MAX_AREAS);
  const specials = reader.list(() => {
    const name = reader.text(64);
    if (!SPECIALS.includes(name)) reader.fail(`special area ${JSON.stringify(name)}`);
    return { name, ...readRange(reader, name) };
  }, SPECIALS.length);
  const files = reader.list(() => readFile(reader));
  const fields = Object.fromEntries(FIELD_ORDER.map((field) => [field, reader.u64()]));
  const image = { areas, specials, files, fields: fields as AddressSpaceFields, auxv: reader.bytes(MAX_AUXV_BYTES) };

  let last = 0n;
  for (const area of areas) {
    if (area.start < last) reader.fail(`memory area 0x${area.start.toString(16)} out of order`);
    last = area.end;
    if (area.file !== null && area.file >= files.length) reader.fail(`mapped file ${area.file}`);
  }
  const ends = [...areas, ...specials].toSorted((a, b) => (a.start < b.start ? -1 : 1));
  if (ends.some(({ start }, index) => index > 0 && start < ends[index - 1]!.end)) reader.fail('overlapping areas');
  return { ...image, pageBytes: reader.u64() };
}

function readArea(reader: ByteReader): MemoryArea {
  const { start, end } = readRange(reader, 'memory area');
  const protection = reader.u8();
  if (protection > 7) reader.fail(`protection ${protection}`);
  const flags = reader.u32();
  if ((flags & ~AREA_FLAGS) !== 0) reader.fail(`area flags ${flags}`);
  const file = reader.u32();
  return {
    start,
    end,
    protection,
    flags,
    file: file === NO_FILE ? null : file,
    fileOffset: reader.u64(),
    name: reader.text(256),
  };
}

function readFile(reader: ByteReader): MappedFile {
  return {
    path: readPath(reader, 'mapped file'),
    size: reader.u64(),
    headDigest: readExact(reader, DIGEST_BYTES, 'digest'),
  };
}
