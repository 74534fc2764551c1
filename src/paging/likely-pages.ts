/** Which pages a process is likely to touch first, of those that may come later: the fill begins with them. Pure. */
import type { ProcessImage } from '../image/types.ts';
import { type RegisterName, Registers } from '../linux/registers.ts';
import { PAGE_BYTES, type PageRun, pageOf } from './page-range.ts';

/** Registers that often hold addresses of data. */
const POINTERS: readonly RegisterName[] = [
  ...(['rsp', 'rbp', 'fs_base', 'rip', 'rdi', 'rsi', 'rbx', 'rdx', 'rcx', 'rax'] as const),
  ...(['r8', 'r9', 'r10', 'r12', 'r13', 'r14', 'r15'] as const),
];
/** Pages around what a register points at; a stack is used above its pointer. */
const AROUND = { before: 4, behind: 12 };
/** Nothing is mapped below (vm.mmap_min_addr), nor at TASK_SIZE and above: such a number is no address. */
const ADDRESSES = { from: 0x10000n, to: 0x7fff_ffff_f000n };

/**
 * Called while the process stands still: it looks at nothing but registers, and what of these pages is not missing is passed
 * over by the fill.
 * @returns pages around what registers point at, the main thread's first; then the heap. Runs may overlap.
 */
export function likelyPages({ memory, threads }: Pick<ProcessImage, 'memory' | 'threads'>): PageRun[] {
  const runs: PageRun[] = [];
  const seen = new Set<number>();
  for (const { registers } of threads) {
    const values = new Registers(Buffer.from(registers));
    for (const name of POINTERS) {
      const address = values.get(name);
      if (address < ADDRESSES.from || address >= ADDRESSES.to) continue;
      const page = pageOf(address);
      if (seen.has(page)) continue;
      seen.add(page);
      runs.push({ page: page - AROUND.before, count: AROUND.before + AROUND.behind });
    }
  }
  const { startBrk, brk } = memory.fields;
  const heapPages = Math.ceil(Number(brk - startBrk) / PAGE_BYTES);
  if (heapPages > 0) runs.push({ page: pageOf(startBrk), count: heapPages });
  return runs;
}
