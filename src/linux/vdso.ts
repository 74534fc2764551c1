/** The kernel's own code in every process. */
import { createHash } from 'node:crypto';
import { ComicranError } from '../base/errors.ts';
import type { ProcessMemory } from './memory.ts';
import type { MapsEntry } from './procfs.ts';

const SYSCALL_INSTRUCTION = Buffer.from([0x0f, 0x05]);
/** What the kernel maps beside and as the vdso; only moved, never made. */
const SPECIALS = new Set(['[vvar]', '[vvar_vclock]', '[vdso]']);

export function isSpecialArea(name: string): boolean {
  return SPECIALS.has(name);
}

export type Vdso = {
  readonly start: bigint;
  /** Address of a `syscall` instruction in it. */
  readonly syscallSite: bigint;
  readonly bytes: Buffer;
};

/** Tells the code of one kernel build from that of another. */
export function digestOf({ bytes }: Vdso): Buffer {
  return createHash('sha256').update(bytes).digest();
}

/** @throws ComicranError process.unsupported: the process has no vdso, as with `vdso=0` or after it unmapped it. */
export function readVdso(maps: readonly Pick<MapsEntry, 'name' | 'start' | 'end'>[], memory: ProcessMemory): Vdso {
  const entry = maps.find(({ name }) => name === '[vdso]');
  if (entry === undefined)
    throw new ComicranError('process.unsupported', `process ${memory.pid} has no vdso`, {
      hint: 'Processes of another architecture (32-bit) and kernels started with vdso=0 are not supported.',
    });
  const bytes = memory.read(entry.start, Number(entry.end - entry.start));
  const syscallOffset = bytes.indexOf(SYSCALL_INSTRUCTION);
  if (syscallOffset < 0)
    throw new ComicranError('process.unsupported', `the vdso of process ${memory.pid} has no system call`);
  return { start: entry.start, syscallSite: entry.start + BigInt(syscallOffset), bytes };
}
