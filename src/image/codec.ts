/** A process image as bytes. The tag of each section is written out here and never changes its meaning. */
import { ByteReader, ByteWriter } from '../base/bytes.ts';
import { decodeDescriptorTable, encodeDescriptorTable } from './descriptors/codec.ts';
import { packSections, type Section, unpackSections } from './envelope.ts';
import { MEMORY_VERSION, readMemory, writeMemory } from './sections/memory.ts';
import { PLATFORM_VERSION, readPlatform, writePlatform } from './sections/platform.ts';
import { PROCESS_VERSION, readProcess, writeProcess } from './sections/process.ts';
import { readSignalsSection, SIGNALS_VERSION, writeSignals } from './sections/signals.ts';
import { readThreads, THREADS_VERSION, writeThreads } from './sections/threads.ts';
import { readTimers, TIMERS_VERSION, writeTimers } from './sections/timers.ts';
import type { ProcessImage } from './types.ts';

type SectionCodec<Key extends keyof ProcessImage> = {
  readonly tag: number;
  readonly version: number;
  readonly write: (writer: ByteWriter, value: ProcessImage[Key]) => void;
  readonly read: (reader: ByteReader) => ProcessImage[Key];
};

const SECTIONS: { readonly [Key in keyof ProcessImage]: SectionCodec<Key> } = {
  platform: { tag: 1, version: PLATFORM_VERSION, write: writePlatform, read: readPlatform },
  process: { tag: 2, version: PROCESS_VERSION, write: writeProcess, read: readProcess },
  memory: { tag: 3, version: MEMORY_VERSION, write: writeMemory, read: readMemory },
  signals: { tag: 4, version: SIGNALS_VERSION, write: writeSignals, read: readSignalsSection },
  timers: { tag: 5, version: TIMERS_VERSION, write: writeTimers, read: readTimers },
  threads: { tag: 6, version: THREADS_VERSION, write: writeThreads, read: readThreads },
  descriptors: {
    tag: 7,
    // The table carries a version of its own.
    version: 1,
    write: (writer, table) => writer.raw(encodeDescriptorTable(table)),
    read: (reader) => decodeDescriptorTable(reader.raw(reader.remaining)),
  },
};
const KEYS = Object.keys(SECTIONS) as (keyof ProcessImage)[];

export function encodeProcessImage(image: ProcessImage): Buffer {
  return packSections(KEYS.map((key) => encodeSection(key, image)));
}

function encodeSection<Key extends keyof ProcessImage>(key: Key, image: ProcessImage): Section {
  const { tag, version, write } = SECTIONS[key];
  const writer = new ByteWriter(8192);
  write(writer, image[key]);
  return { tag, version, bytes: writer.finish() };
}

/**
 * The image, checked: every number is in its range, every reference leads somewhere. Byte arrays in it are views of the
 * input. @throws ComicranError image.invalid, and nothing else, whatever the bytes are.
 */
export function decodeProcessImage(bytes: Uint8Array): ProcessImage {
  const sections = unpackSections(bytes);
  const outer = new ByteReader(bytes, 'process image');
  for (const { tag } of sections.values())
    if (!KEYS.some((key) => SECTIONS[key].tag === tag)) outer.fail(`section ${tag} is not known`);
  const part = <Key extends keyof ProcessImage>(key: Key): ProcessImage[Key] => {
    const { tag, version, read } = SECTIONS[key];
    const section = sections.get(tag);
    if (section === undefined) return outer.fail(`section ${tag} (${key}) is missing`);
    const reader = new ByteReader(section.bytes, `process image, section ${key}`);
    if (section.version !== version) reader.fail(`version ${section.version}; this program knows ${version}`);
    const value = read(reader);
    reader.end();
    return value;
  };
  const image: ProcessImage = {
    platform: part('platform'),
    process: part('process'),
    memory: part('memory'),
    signals: part('signals'),
    timers: part('timers'),
    threads: part('threads'),
    descriptors: part('descriptors'),
  };
  if (image.threads[0]?.tid !== image.process.pid) outer.fail('the first thread is not the main thread');
  const tids = new Set(image.threads.map(({ tid }) => tid));
  for (const { id, notification } of image.timers.posix)
    if (notification.kind === 'thread' && !tids.has(notification.tid)) outer.fail(`timer ${id} of an unknown thread`);
  return image;
}
