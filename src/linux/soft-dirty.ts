/**
 * Which pages of a process were written, where the kernel keeps soft-dirty bits (CONFIG_MEM_SOFT_DIRTY):
 * Documentation/admin-guide/mm/soft-dirty.rst. For kernels older than 6.7.
 *
 * The bits of all pages of a process are cleared together, and a write between a look and the clearing goes unnoticed: the
 * process has to stand still for both.
 */
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';
import { KernelError } from './errno.ts';
import { addressOf, syscall, trySyscall } from './libc.ts';
import { ProcessMemory } from './memory.ts';
import { SYS } from './syscall-numbers.ts';
import type { OwnPages, ScannedArea } from './write-scan.ts';

const PAGE_BYTES = 4096;
const HUGE_PAGES = 512;
const ENTRY_BYTES = 8;
const ENTRIES = 1 << 16;
const HIGH = 0x1_0000_0000;
/** Bits of the upper half of an entry of /proc/PID/pagemap, and bit 24 of one of /proc/kpageflags (KPF_ZERO_PAGE). */
const UPPER = {
  SOFT_DIRTY: 1 << 23,
  FILE: 1 << 29,
  SWAPPED: 1 << 30,
  PRESENT: 0x8000_0000,
  FRAME: (1 << 23) - 1,
} as const;
const KPF_ZERO_PAGE = 1 << 24;
/** What clears the soft-dirty bits when it is written to /proc/PID/clear_refs. */
const CLEAR_SOFT_DIRTY = '4';

/** Whether a frame of physical memory, by its number, is (part of) a page of zeros, when it is mapped at an address. */
export type IsZeroFrame = (frame: number, address: number) => boolean;

/**
 * What entries of pagemap say.
 *
 * @param entries two words for each page from `start` on, the lower one first.
 */
export function readEntries(
  entries: Uint32Array,
  start: number,
  isZeroFrame: IsZeroFrame,
  { own, changed }: OwnPages,
): void {
  for (let index = 0; index < entries.length; index += 2) {
    const upper = entries[index + 1]!;
    if ((upper & (UPPER.PRESENT | UPPER.SWAPPED)) === 0 || (upper & UPPER.FILE) !== 0) continue;
    const at = start + (index / 2) * PAGE_BYTES;
    const isPresent = (upper & UPPER.SWAPPED) === 0;
    if (isPresent && isZeroFrame((upper & UPPER.FRAME) * HIGH + entries[index]!, at)) continue;
    own.append(at, at + PAGE_BYTES);
    if ((upper & UPPER.SOFT_DIRTY) !== 0) changed.append(at, at + PAGE_BYTES);
  }
}

export class SoftDirtyScan {
  readonly #pid: number;
  readonly #descriptor: number;
  readonly #entries = new Uint32Array((ENTRIES * ENTRY_BYTES) / 4);
  readonly #bytes = new Uint8Array(this.#entries.buffer);
  readonly #zeroFrames = new ZeroFrames();
  readonly #isZeroFrame: IsZeroFrame = (frame, address) => this.#zeroFrames.has(frame, address);

  constructor(pid: number) {
    this.#pid = pid;
    this.#descriptor = openSync(`/proc/${pid}/pagemap`, 'r');
  }

  /** The own pages of an area; changed are those that were written since {@link clear}. */
  look({ start, end }: ScannedArea, into: OwnPages): void {
    const huge = HUGE_PAGES * PAGE_BYTES;
    for (let at = start; at < end; ) {
      // No huge page lies on both sides of a cut.
      const next = Math.min(end, Math.floor((at + ENTRIES * PAGE_BYTES) / huge) * huge);
      const length = ((next - at) / PAGE_BYTES) * ENTRY_BYTES;
      const count = trySyscall(SYS.pread64, this.#descriptor, this.#bytes, length, (at / PAGE_BYTES) * ENTRY_BYTES);
      if (count !== length) throw new KernelError(`read pagemap of process ${this.#pid}`, Math.max(0, -count));
      readEntries(this.#entries.subarray(0, length / 4), at, this.#isZeroFrame, into);
      at = next;
    }
  }

  /** No page counts as changed any more. */
  clear(): void {
    writeFileSync(`/proc/${this.#pid}/clear_refs`, CLEAR_SOFT_DIRTY);
  }

  close(): void {
    closeSync(this.#descriptor);
    this.#zeroFrames.close();
  }
}

/** Frames that all processes share as zeros: a small page, always the same, and a huge one that comes and goes. */
class ZeroFrames {
  readonly #small = smallZeroFrame();
  readonly #flags = openSync('/proc/kpageflags', 'r');
  readonly #word = Buffer.alloc(ENTRY_BYTES);
  /** First frame of the huge page of zeros that is mapped where the last look was. */
  #huge = -1;

  /** Addresses are asked for in ascending order. */
  has(frame: number, address: number): boolean {
    if (frame === this.#small) return true;
    const offset = frame % HUGE_PAGES;
    // A huge page of zeros is mapped as a whole, or else the small one is mapped in its place.
    if (address % (HUGE_PAGES * PAGE_BYTES) === 0) this.#huge = offset === 0 && this.#isZero(frame) ? frame : -1;
    return frame - offset === this.#huge;
  }

  #isZero(frame: number): boolean {
    if (trySyscall(SYS.pread64, this.#flags, this.#word, ENTRY_BYTES, frame * ENTRY_BYTES) !== ENTRY_BYTES)
      return false;
    return (this.#word.readUInt32LE(0) & KPF_ZERO_PAGE) !== 0;
  }

  close(): void {
    closeSync(this.#flags);
  }
}

const PROT_READ = 1;
const MAP_PRIVATE_ANONYMOUS = 0x22;

/** The frame of the small page of zeros: what the kernel maps where memory is read that was never written. */
function smallZeroFrame(): number {
  const address = syscall('map a page', SYS.mmap, 0, PAGE_BYTES, PROT_READ, MAP_PRIVATE_ANONYMOUS, -1, 0);
  const memory = new ProcessMemory(process.pid);
  try {
    memory.read(BigInt(address), 1);
    const entry = ownEntry(address);
    return (entry.readUInt32LE(4) & UPPER.FRAME) * HIGH + entry.readUInt32LE(0);
  } finally {
    memory.close();
    trySyscall(SYS.munmap, address, PAGE_BYTES);
  }
}

/** Whether the kernel keeps soft-dirty bits, tried on this process. */
export function hasSoftDirty(): boolean {
  const bytes = Buffer.alloc(PAGE_BYTES, 1);
  return (ownEntry(Number(addressOf(bytes))).readUInt32LE(4) & UPPER.SOFT_DIRTY) !== 0;
}

/** The entry of pagemap of a page of this process. */
function ownEntry(address: number): Buffer {
  const entry = Buffer.alloc(ENTRY_BYTES);
  const file = openSync('/proc/self/pagemap', 'r');
  try {
    readSync(file, entry, 0, ENTRY_BYTES, Math.floor(address / PAGE_BYTES) * ENTRY_BYTES);
    return entry;
  } finally {
    closeSync(file);
  }
}
