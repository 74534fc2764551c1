/** The new process becomes one of the right executable, with nothing in its address space but the agent. */
import { ComicranError } from '../base/errors.ts';
import type { MemoryImage } from '../image/types.ts';
import { EACCES, ENOENT, KernelError } from '../linux/errno.ts';
import { cString } from '../linux/libc.ts';
import { type MapsEntry, parseMaps, readProc } from '../linux/procfs.ts';
import { SYS } from '../linux/syscall-numbers.ts';
import type { RemoteCall, Tracee } from '../linux/tracee.ts';
import { isSpecialArea, readVdso } from '../linux/vdso.ts';

/** Room for what the calls of a restore point at. */
const AGENT_SIZE = 0x40000n;
/** Where the search for room begins: above what vm.mmap_min_addr keeps free. */
const LOWEST = 0x10000000n;
const FIRST_PAGE = 0x1000n;
const USER_SPACE_END = 0x7ffffffff000n;
const STACK_DISTANCE = 8192n;
const MREMAP_MAYMOVE_FIXED = 3;

/**
 * Runs an execve in the process, which gives it the right executable, an address space of its own and the default actions
 * for all signals.
 *
 * @throws ComicranError process.unsupported: the executable is missing in the sandbox.
 */
export function execute(thread: Tracee, executable: string): void {
  const { process } = thread;
  const path = cString(executable);
  const at = (thread.registers.get('rsp') - STACK_DISTANCE) & ~15n;
  // argv: the path and a null pointer; the environment begins, and ends, at the latter.
  const block = Buffer.alloc(16 + path.length);
  block.writeBigUInt64LE(at + 16n, 0);
  path.copy(block, 16);
  process.memory.write(at, block);
  try {
    thread.exec(`execute ${executable}`, at + 16n, at, at + 8n);
  } catch (cause) {
    if (!(cause instanceof KernelError) || (cause.errno !== ENOENT && cause.errno !== EACCES)) throw cause;
    throw new ComicranError('process.unsupported', `the sandbox of the destination cannot execute ${executable}`, {
      cause,
      hint: 'The sandbox must have the same files on both machines: make it from the same full configuration.',
    });
  }
  process.reopen(0n);
  const vdso = readVdso(currentAreas(process.pid), process.memory);
  process.syscallSite = vdso.syscallSite;
  thread.refresh();
}

function currentAreas(pid: number): MapsEntry[] {
  return parseMaps(readProc(pid, 'maps')).filter(({ name }) => name !== '[vsyscall]');
}

type Span = { readonly start: bigint; readonly end: bigint };

/** The lowest room of a size that lies in none of the spans. */
export function findRoom(spans: readonly Span[], size: bigint): bigint {
  let at = LOWEST;
  for (const { start, end } of spans.toSorted((a, b) => (a.start < b.start ? -1 : 1))) {
    if (start >= at + size) break;
    if (end > at) at = end;
  }
  return at;
}

/**
 * Puts the agent where it is in nobody's way, unmaps everything else and moves the areas that the kernel made to where
 * the image has them.
 *
 * @throws ComicranError image.kernel-mismatch: the kernel here makes other ones.
 */
export function clearAddressSpace(thread: Tracee, memory: MemoryImage): void {
  const { process } = thread;
  const current = currentAreas(process.pid);
  const specials = current.filter(({ name }) => isSpecialArea(name));
  const sizes = (areas: readonly (Span & { readonly name: string })[]): string =>
    areas.map(({ name, start, end }) => `${name} ${end - start}`).join(', ');
  if (sizes(specials) !== sizes(memory.specials))
    throw new ComicranError(
      'image.kernel-mismatch',
      `the process has ${sizes(memory.specials)} bytes, this kernel makes ${sizes(specials)}`,
    );

  const first = specials[0]!.start;
  const length = specials.at(-1)!.end - first;
  // The agent, and behind it a place for the special areas on their way.
  const base = findRoom([...current, ...memory.areas, ...memory.specials], AGENT_SIZE + length);
  thread.installAgent(AGENT_SIZE, base);

  const calls: RemoteCall[] = [];
  let at = FIRST_PAGE;
  const kept = [{ start: base, end: base + AGENT_SIZE }, ...specials].toSorted((a, b) => (a.start < b.start ? -1 : 1));
  for (const { start, end } of [...kept, { start: USER_SPACE_END, end: USER_SPACE_END }]) {
    if (start > at) calls.push({ what: 'clear the address space', number: SYS.munmap, args: [at, start - at] });
    at = end;
  }
  const move = ({ name, start, end }: MapsEntry, from: bigint, to: bigint): RemoteCall => ({
    what: `move ${name}`,
    number: SYS.mremap,
    args: [from, end - start, end - start, MREMAP_MAYMOVE_FIXED, to],
  });
  const onTheWay = (start: bigint): bigint => base + AGENT_SIZE + (start - first);
  for (const special of specials) calls.push(move(special, special.start, onTheWay(special.start)));
  for (const [index, special] of specials.entries())
    calls.push(move(special, onTheWay(special.start), memory.specials[index]!.start));
  const vdso = specials.findIndex(({ name }) => name === '[vdso]');
  const offset = process.syscallSite - specials[vdso]!.start;
  thread.batch(calls);
  process.syscallSite = memory.specials[vdso]!.start + offset;
}
