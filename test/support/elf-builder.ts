/** Small ELF objects as bytes: just enough for what reads the program headers and the dynamic section. */

export type ElfSketch = {
  readonly bits?: 32 | 64;
  readonly machine?: number;
  readonly type?: number;
  readonly interpreter?: string;
  readonly needed?: readonly string[];
  readonly soname?: string;
  readonly rpath?: string;
  readonly runpath?: string;
  readonly flags1?: number;
  /** No PT_DYNAMIC at all. */
  readonly static?: boolean;
  /** More strings for the string table, such as version names. */
  readonly strings?: readonly string[];
  /** Texts of notes about libraries that are loaded by name. */
  readonly dlopenNotes?: readonly string[];
};

const PAGE_BYTES = 4096;
const BASE_ADDRESS = 0x10000;
const TAGS = { needed: 1, strtab: 5, strsz: 10, soname: 14, rpath: 15, runpath: 29, flags1: 0x6ffffffb } as const;

export function buildElf(sketch: ElfSketch): Buffer {
  const wide = (sketch.bits ?? 64) === 64;
  const word = (value: number): Buffer => {
    const bytes = Buffer.alloc(wide ? 8 : 4);
    if (wide) bytes.writeBigUInt64LE(BigInt(value));
    else bytes.writeUInt32LE(value);
    return bytes;
  };
  const half = (value: number): Buffer => Buffer.from([value & 0xff, value >> 8]);
  const int = (value: number): Buffer =>
    Buffer.from([value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24]);

  let strings = '\0';
  const nameOf = (text: string): number => {
    const at = Buffer.byteLength(strings);
    strings += `${text}\0`;
    return at;
  };
  for (const text of sketch.strings ?? []) nameOf(text);
  const tags: [number, number][] = (sketch.needed ?? []).map((name) => [TAGS.needed, nameOf(name)]);
  if (sketch.soname !== undefined) tags.push([TAGS.soname, nameOf(sketch.soname)]);
  if (sketch.rpath !== undefined) tags.push([TAGS.rpath, nameOf(sketch.rpath)]);
  if (sketch.runpath !== undefined) tags.push([TAGS.runpath, nameOf(sketch.runpath)]);
  if (sketch.flags1 !== undefined) tags.push([TAGS.flags1, sketch.flags1]);

  const headerBytes = wide ? 64 : 52;
  const entryBytes = wide ? 56 : 32;
  const interpreter = sketch.interpreter === undefined ? undefined : Buffer.from(`${sketch.interpreter}\0`);
  const notes = (sketch.dlopenNotes ?? []).map((text) => {
    const padded = Buffer.alloc(Math.ceil((text.length + 1) / 4) * 4);
    padded.write(text);
    return Buffer.concat([int(4), int(text.length + 1), int(0x407c0c0a), Buffer.from('FDO\0'), padded]);
  });
  const note = Buffer.concat(notes);
  const segmentCount =
    1 + (notes.length === 0 ? 0 : 1) + (interpreter === undefined ? 0 : 1) + (sketch.static === true ? 0 : 1);
  const interpreterAt = headerBytes + segmentCount * entryBytes;
  const stringsAt = interpreterAt + (interpreter?.length ?? 0);
  const table = Buffer.from(strings);
  const dynamicAt = stringsAt + table.length;
  tags.push([TAGS.strtab, BASE_ADDRESS + stringsAt], [TAGS.strsz, table.length], [0, 0]);
  const dynamic =
    sketch.static === true ? Buffer.alloc(0) : Buffer.concat(tags.flatMap(([tag, value]) => [word(tag), word(value)]));
  const noteAt = dynamicAt + dynamic.length;
  const end = noteAt + note.length;

  const segment = (type: number, offset: number, length: number): Buffer => {
    const [at, address, size] = [word(offset), word(BASE_ADDRESS + offset), word(length)];
    return wide
      ? Buffer.concat([int(type), int(5), at, address, address, size, size, word(PAGE_BYTES)])
      : Buffer.concat([int(type), at, address, address, size, size, int(5), word(PAGE_BYTES)]);
  };
  const segments = [segment(1, 0, end)];
  if (interpreter !== undefined) segments.push(segment(3, interpreterAt, interpreter.length));
  if (notes.length > 0) segments.push(segment(4, noteAt, note.length));
  if (sketch.static !== true) segments.push(segment(2, dynamicAt, dynamic.length));

  const header = Buffer.concat([
    Buffer.from([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    half(sketch.type ?? 3),
    half(sketch.machine ?? (wide ? 62 : 3)),
    int(1),
    word(0),
    word(headerBytes),
    word(0),
    int(0),
    half(headerBytes),
    half(entryBytes),
    half(segmentCount),
    half(0),
    half(0),
    half(0),
  ]);
  return Buffer.concat([header, ...segments, interpreter ?? Buffer.alloc(0), table, dynamic, note]);
}
