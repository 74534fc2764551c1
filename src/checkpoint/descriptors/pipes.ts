import type { InheritedImage, PipeEndImage, PipeImage } from '../../image/descriptors/types.ts';
import {
  copyPipe,
  getPipeCapacity,
  makePipe,
  POLL,
  pollNow,
  readableBytes,
  readOnce,
  setPipeCapacity,
} from '../../linux/file-descriptors.ts';
import { O } from '../../linux/open-flags.ts';
import { closeDescriptor } from '../../linux/pidfd.ts';
import { type DescriptorSource, type Found, Refusal } from './source.ts';

/** What is found before pipes are read: the ends of each in the process, by what their links say. */
type PipeEnds = ReadonlyMap<string, readonly Found[]>;

const PIPE_LINK = /^pipe:\[(\d+)\]$/;

/** The name under which a pipe is inherited; null: it is not. */
export function inheritedName(source: DescriptorSource, link: string): string | null {
  const inode = PIPE_LINK.exec(link)?.[1];
  return source.context.inherited.find((pipe) => String(pipe.inode) === inode)?.name ?? null;
}

export function captureInherited({ flags }: Found, name: string): InheritedImage {
  return { kind: 'inherited', flags, name };
}

/** Captures pipes and FIFOs, each once, however many descriptions its ends have. */
export class PipeCapture {
  readonly pipes: PipeImage[] = [];
  readonly #source: DescriptorSource;
  readonly #ends: PipeEnds;
  readonly #known = new Map<string, number>();

  /** @param ends of all pipes that are not inherited. */
  constructor(source: DescriptorSource, ends: PipeEnds) {
    this.#source = source;
    this.#ends = ends;
  }

  /** @param path of a FIFO; null for a pipe. */
  capture(found: Found, path: string | null): PipeEndImage {
    const { flags } = found;
    if ((flags & O.ASYNC) !== 0) throw new Refusal(found.number, `${describe(found, path)}, open with O_ASYNC`);
    let pipe = this.#known.get(found.link);
    if (pipe === undefined) {
      pipe = this.pipes.push(this.#read(found, path)) - 1;
      this.#known.set(found.link, pipe);
    }
    return { kind: 'pipe', flags, pipe };
  }

  #read(found: Found, path: string | null): PipeImage {
    const ends = this.#ends.get(found.link) ?? [found];
    const readEnd = ends.find((end) => (end.flags & O.ACCMODE) !== O.WRONLY);
    const writeEnd = ends.find((end) => (end.flags & O.ACCMODE) !== O.RDONLY);
    if (path === null) this.#refuseForeignEnd(readEnd, writeEnd);
    const copy = this.#source.copy(found.number);
    const hungUp = path !== null && (pollNow(copy, 0) & POLL.HUP) !== 0;
    const empty: PipeImage = { path, hungUp, capacity: getPipeCapacity(copy), chunks: [] };
    const length = readableBytes(copy);
    if (length === 0 || this.#source.context.running) return empty;
    if (readEnd === undefined) {
      // Nobody can read what is left in a pipe without a reader; in a FIFO the next one to open it can.
      if (path === null) return empty;
      throw new Refusal(found.number, `${describe(found, path)} with ${length} unread bytes and no reader`);
    }
    const inPackets = ends.some((end) => (end.flags & O.DIRECT) !== 0);
    return { ...empty, chunks: peek(this.#source.copy(readEnd.number), empty.capacity, inPackets) };
  }

  /** A pipe with one end in the process is whole only if the other end is closed everywhere. */
  #refuseForeignEnd(readEnd: Found | undefined, writeEnd: Found | undefined): void {
    const only = readEnd === undefined ? writeEnd : writeEnd === undefined ? readEnd : undefined;
    if (only === undefined) return;
    const alone = pollNow(this.#source.copy(only.number), 0) & (POLL.HUP | POLL.ERR);
    if (alone === 0) throw new Refusal(only.number, `${describe(only, null)} whose other end is in another process`);
  }
}

function describe({ flags, link }: Found, path: string | null): string {
  if (path !== null) return `the FIFO ${path}`;
  return `the ${(flags & O.ACCMODE) === O.RDONLY ? 'reading' : 'writing'} end of ${link}`;
}

/** Reads a pipe without taking anything from it: by a copy of its buffer. */
function peek(readEnd: number, capacity: number, inPackets: boolean): Buffer[] {
  const copy = makePipe(O.CLOEXEC | O.NONBLOCK);
  try {
    // As many slots as the original: every write may have taken one of its own.
    setPipeCapacity(copy.writeEnd, capacity);
    const length = copyPipe(readEnd, copy.writeEnd, capacity);
    const chunks: Buffer[] = [];
    for (let left = length; left > 0; ) {
      // Of a pipe in packet mode one read gives one packet.
      const chunk = Buffer.allocUnsafeSlow(left);
      const count = readOnce(copy.readEnd, chunk) ?? 0;
      if (count === 0) break;
      chunks.push(chunk.subarray(0, count));
      left -= count;
    }
    return inPackets ? chunks : [Buffer.concat(chunks)];
  } finally {
    closeDescriptor(copy.readEnd);
    closeDescriptor(copy.writeEnd);
  }
}
