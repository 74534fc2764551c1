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
  /** Whether what comes behind it leaves rax alone and uses the stack before anything else. */
  readonly faultsBehind: boolean;
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
  const sites = sitesIn(bytes);
  const returning = sites.find((site) => usesStack(bytes, site + SYSCALL_INSTRUCTION.length));
  const site = returning ?? sites[0];
  if (site === undefined)
    throw new ComicranError('process.unsupported', `the vdso of process ${memory.pid} has no system call`);
  return { start: entry.start, syscallSite: entry.start + BigInt(site), faultsBehind: returning !== undefined, bytes };
}

function sitesIn(bytes: Buffer): number[] {
  const found: number[] = [];
  for (let at = bytes.indexOf(SYSCALL_INSTRUCTION); at >= 0; at = bytes.indexOf(SYSCALL_INSTRUCTION, at + 1))
    found.push(at);
  return found;
}

/** `xor` of a register with itself, but for rax: what compilers put before a return (-fzero-call-used-regs). */
const CLEARING = ['31d2', '31c9', '31f6', '31ff', '4531c0', '4531c9', '4531d2', '4531db'].map((code) =>
  Buffer.from(code, 'hex'),
);
/** `ret`, `leave`, and `pop` of any of the eight old registers. */
const STACK_CODES: ReadonlySet<number> = new Set([0xc3, 0xc9, 0x58, 0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f]);

/** Whether code clears some registers at most, and then takes something from the stack. */
export function usesStack(code: Buffer, at: number): boolean {
  const clearing = CLEARING.find((each) => code.subarray(at, at + each.length).equals(each));
  return clearing === undefined ? STACK_CODES.has(code[at] ?? 0) : usesStack(code, at + clearing.length);
}
