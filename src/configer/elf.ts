/**
 * What the dynamic loader reads of an ELF object: its interpreter, the libraries it needs, and where it wants them sought.
 *
 * Layouts: elf(5), System V ABI chapters 4 and 5. Section headers are not looked at, because the loader does not either
 * and a stripped file may have none. Every length and offset of the file is checked before it is used.
 */
import { ComicranError } from '../base/errors.ts';

/** Bytes at an offset of a file; fewer than asked for where the file ends. */
export type ReadAt = (offset: number, length: number) => Buffer;

export type ElfMachine = 'x86-64' | 'i386';

export type ElfObject = {
  readonly machine: ElfMachine;
  /** The dynamic loader that the kernel starts (PT_INTERP). */
  readonly interpreter?: string;
  /** DT_NEEDED, in the order of the file. */
  readonly needed: readonly string[];
  readonly soname?: string;
  /** DT_RPATH; undefined where there is a DT_RUNPATH as well, which makes the loader ignore it. */
  readonly rpath?: string;
  readonly runpath?: string;
  /** DF_1_NODEFLIB: neither the cache nor the default directories are searched for its libraries. */
  readonly noDefaultLibraries: boolean;
  /** Names of the versions that it needs and defines, such as GLIBC_2.34, stand in its string table; this looks there. */
  readonly mentions: (name: string) => boolean;
  /** The libraries that it says it loads by name while it runs, as JSON (the specification ELF_DLOPEN_METADATA). */
  readonly dlopenNotes: readonly string[];
};

const MAGIC = Buffer.from([0x7f, 0x45, 0x4c, 0x46]);
const CLASS_32 = 1;
const CLASS_64 = 2;
const LITTLE_ENDIAN = 1;
const ET_EXEC = 2;
const ET_DYN = 3;
const EM_386 = 3;
const EM_X86_64 = 62;
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const PT_NOTE = 4;
/** Owner and type of a note with the libraries that are loaded by name (uapi-group.org, ELF_DLOPEN_METADATA). */
const DLOPEN_NOTE_OWNER = 'FDO\0';
const DLOPEN_NOTE_TYPE = 0x407c0c0a;
const MAX_NOTE_BYTES = 1 << 20;
const DT_NULL = 0;
const DT_NEEDED = 1;
const DT_STRTAB = 5;
const DT_STRSZ = 10;
const DT_SONAME = 14;
const DT_RPATH = 15;
const DT_RUNPATH = 29;
const DT_FLAGS_1 = 0x6ffffffb;
const DF_1_NODEFLIB = 0x800;

/** The kernel refuses more than 64 KiB of program headers (load_elf_phdrs in fs/binfmt_elf.c). */
const MAX_PROGRAM_HEADER_BYTES = 65536;
const MAX_DYNAMIC_BYTES = 1 << 20;
const MAX_STRING_TABLE_BYTES = 64 << 20;
const MAX_PATH_BYTES = 4096;
const MAX_SEARCH_PATH_BYTES = 65536;
const MAX_NEEDED = 4096;

/** Where the fields of the two classes are. */
const HEADER = {
  32: { bytes: 52, phoff: 28, phentsize: 42, phnum: 44 },
  64: { bytes: 64, phoff: 32, phentsize: 54, phnum: 56 },
} as const;
const PROGRAM_HEADER = {
  32: { bytes: 32, offset: 4, vaddr: 8, filesz: 16 },
  64: { bytes: 56, offset: 8, vaddr: 16, filesz: 32 },
} as const;

type Segment = { readonly type: number; readonly offset: number; readonly vaddr: number; readonly fileBytes: number };

export function isElf(start: Uint8Array): boolean {
  return MAGIC.equals(start.subarray(0, MAGIC.length));
}

/** The machine of an ELF file from its first 20 bytes; undefined for one that programs of this machine do not load. */
export function machineOf(start: Buffer): ElfMachine | undefined {
  if (start.length < 20 || start[5] !== LITTLE_ENDIAN) return undefined;
  const machine = start.readUInt16LE(18);
  if (machine === EM_X86_64 && start[4] === CLASS_64) return 'x86-64';
  return machine === EM_386 && start[4] === CLASS_32 ? 'i386' : undefined;
}

/**
 * @param name what the file is called in an error.
 * @throws ComicranError elf.invalid: not ELF, truncated, of another machine, or not as the ABI says.
 */
export function parseElf(readAt: ReadAt, name: string): ElfObject {
  return new Parser(readAt, name).parse();
}

class Parser {
  readonly #readAt: ReadAt;
  readonly #name: string;
  #bits: 32 | 64 = 64;

  constructor(readAt: ReadAt, name: string) {
    this.#readAt = readAt;
    this.#name = name;
  }

  parse(): ElfObject {
    const machine = this.#identify();
    const segments = this.#segments();
    const interpreter = segments.find(({ type }) => type === PT_INTERP);
    const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
    return {
      machine,
      ...(interpreter === undefined ? {} : { interpreter: this.#interpreter(interpreter) }),
      ...this.#dynamic(dynamic, segments),
      dlopenNotes: segments.filter(({ type }) => type === PT_NOTE).flatMap((segment) => this.#dlopenNotes(segment)),
    };
  }

  /** A damaged note is none: the loader does not look at them. */
  #dlopenNotes({ offset, fileBytes }: Segment): string[] {
    if (fileBytes > MAX_NOTE_BYTES || !Number.isSafeInteger(offset + fileBytes)) return [];
    const notes = this.#readAt(offset, fileBytes);
    const found: string[] = [];
    for (let at = 0; at + 12 <= notes.length; ) {
      const ownerBytes = notes.readUInt32LE(at);
      const textBytes = notes.readUInt32LE(at + 4);
      const text = at + 12 + aligned(ownerBytes);
      if (text + textBytes > notes.length) break;
      const owner = notes.toString('latin1', at + 12, at + 12 + ownerBytes);
      if (owner === DLOPEN_NOTE_OWNER && notes.readUInt32LE(at + 8) === DLOPEN_NOTE_TYPE)
        found.push(notes.toString('utf8', text, text + textBytes).replace(/\0+$/, ''));
      at = text + aligned(textBytes);
    }
    return found;
  }

  #identify(): ElfMachine {
    const identity = this.#readAt(0, 20);
    if (!isElf(identity)) this.#fail('it is not an ELF file');
    if (identity.length < 20) this.#truncated('header');
    const elfClass = identity[4];
    if (elfClass !== CLASS_32 && elfClass !== CLASS_64) this.#fail(`its ELF class is ${elfClass}; 1 and 2 are known`);
    if (identity[5] !== LITTLE_ENDIAN) this.#fail('it is not little-endian, so not for this kind of machine');
    this.#bits = elfClass === CLASS_64 ? 64 : 32;
    const type = identity.readUInt16LE(16);
    if (type !== ET_EXEC && type !== ET_DYN) {
      this.#fail(`its ELF type is ${type}; an executable is ${ET_EXEC} and a shared object ${ET_DYN}`);
    }
    const machine = machineOf(identity);
    if (machine !== undefined) return machine;
    const found = `ELF machine ${identity.readUInt16LE(18)} with ${this.#bits} bits`;
    return this.#fail(`it is for ${found}; known are x86-64 (62, 64 bits) and i386 (3, 32 bits)`);
  }

  #segments(): Segment[] {
    const layout = HEADER[this.#bits];
    const entry = PROGRAM_HEADER[this.#bits];
    const header = this.#read(0, layout.bytes, 'header');
    const entryBytes = header.readUInt16LE(layout.phentsize);
    const count = header.readUInt16LE(layout.phnum);
    if (count === 0) this.#fail('it has no program headers, so it cannot be loaded');
    if (entryBytes !== entry.bytes) this.#fail(`its program headers are ${entryBytes} bytes each, not ${entry.bytes}`);
    if (count * entryBytes > MAX_PROGRAM_HEADER_BYTES) this.#fail(`it has ${count} program headers`);
    const table = this.#read(this.#word(header, layout.phoff), count * entryBytes, 'program headers');
    return Array.from({ length: count }, (_, index) => {
      const at = index * entryBytes;
      return {
        type: table.readUInt32LE(at),
        offset: this.#word(table, at + entry.offset),
        vaddr: this.#word(table, at + entry.vaddr),
        fileBytes: this.#word(table, at + entry.filesz),
      };
    });
  }

  #interpreter({ offset, fileBytes }: Segment): string {
    if (fileBytes < 2 || fileBytes > MAX_PATH_BYTES) this.#fail(`its interpreter's name is ${fileBytes} bytes long`);
    const bytes = this.#read(offset, fileBytes, 'interpreter');
    if (bytes.at(-1) !== 0) this.#fail("its interpreter's name does not end in NUL");
    const name = bytes.toString('utf8', 0, bytes.indexOf(0));
    if (!name.startsWith('/')) this.#fail(`its interpreter is '${name}', which is not an absolute path`);
    return name;
  }

  #dynamic(
    dynamic: Segment | undefined,
    segments: readonly Segment[],
  ): Omit<ElfObject, 'machine' | 'interpreter' | 'dlopenNotes'> {
    if (dynamic === undefined) return { needed: [], noDefaultLibraries: false, mentions: () => false };
    if (dynamic.fileBytes > MAX_DYNAMIC_BYTES) this.#fail(`its dynamic section is ${dynamic.fileBytes} bytes long`);
    const tags = this.#tags(this.#read(dynamic.offset, dynamic.fileBytes, 'dynamic section'));
    const last = (tag: number): number | undefined => tags.findLast((entry) => entry.tag === tag)?.value;
    const named = tags.some(({ tag }) => [DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH].includes(tag));
    const strings = this.#stringTable(last(DT_STRTAB), last(DT_STRSZ), segments, named);

    const textOf = (offset: number, maxBytes: number): string => {
      const end = strings.indexOf(0, offset);
      if (offset >= strings.length || end === -1)
        this.#fail(`its dynamic section names a string at ${offset}, behind the end`);
      if (end - offset > maxBytes) this.#fail(`its dynamic section names a string of ${end - offset} bytes`);
      return strings.toString('utf8', offset, end);
    };
    const textAt = (tag: number): string | undefined => {
      const offset = last(tag);
      return offset === undefined ? undefined : textOf(offset, MAX_SEARCH_PATH_BYTES);
    };
    const needed = tags.filter(({ tag }) => tag === DT_NEEDED);
    if (needed.length > MAX_NEEDED)
      this.#fail(`it needs ${needed.length} libraries; at most ${MAX_NEEDED} are looked at`);
    const soname = textAt(DT_SONAME);
    const runpath = textAt(DT_RUNPATH);
    const rpath = runpath === undefined ? textAt(DT_RPATH) : undefined;
    return {
      needed: needed.map(
        ({ value }) => textOf(value, MAX_PATH_BYTES) || this.#fail('it needs a library without a name'),
      ),
      ...(soname === undefined ? {} : { soname }),
      ...(rpath === undefined ? {} : { rpath }),
      ...(runpath === undefined ? {} : { runpath }),
      noDefaultLibraries: ((last(DT_FLAGS_1) ?? 0) & DF_1_NODEFLIB) !== 0,
      mentions: (name) => strings.includes(`\0${name}\0`),
    };
  }

  #tags(section: Buffer): { readonly tag: number; readonly value: number }[] {
    const half = this.#bits / 8;
    const tags: { tag: number; value: number }[] = [];
    for (let at = 0; at + 2 * half <= section.length; at += 2 * half) {
      const tag = this.#word(section, at);
      if (tag === DT_NULL) break;
      tags.push({ tag, value: this.#word(section, at + half) });
    }
    return tags;
  }

  #stringTable(
    address: number | undefined,
    bytes: number | undefined,
    segments: readonly Segment[],
    named: boolean,
  ): Buffer {
    if (!named) return Buffer.alloc(0);
    if (address === undefined || bytes === undefined) this.#fail('its dynamic section has no string table');
    if (bytes > MAX_STRING_TABLE_BYTES) this.#fail(`its string table is ${bytes} bytes long`);
    const home = segments.find(
      ({ type, vaddr, fileBytes }) => type === PT_LOAD && address >= vaddr && address - vaddr < fileBytes,
    );
    if (home === undefined) this.#fail('its string table lies in no part of the file that is loaded');
    return this.#read(home.offset + (address - home.vaddr), bytes, 'string table');
  }

  /** A word of the file's class. One beyond what a number holds becomes one that no file is long enough for. */
  #word(buffer: Buffer, at: number): number {
    return this.#bits === 64 ? Number(buffer.readBigUInt64LE(at)) : buffer.readUInt32LE(at);
  }

  #read(offset: number, length: number, what: string): Buffer {
    if (!Number.isSafeInteger(offset + length)) this.#truncated(what);
    const bytes = this.#readAt(offset, length);
    if (bytes.length < length) this.#truncated(what);
    return bytes;
  }

  #truncated(what: string): never {
    return this.#fail(`it is truncated: it ends before the end of its ${what}`);
  }

  #fail(problem: string): never {
    throw new ComicranError('elf.invalid', `${this.#name} cannot be loaded: ${problem}`, {
      hint: 'Name an executable or shared object that is built for this machine and complete.',
    });
  }
}

function aligned(bytes: number): number {
  return (bytes + 3) & ~3;
}
