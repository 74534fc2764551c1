/** The system calls that name a file by its path, and what each wants of it. */
import { O } from '../../linux/open-flags.ts';
import { SYS } from '../../linux/syscall-numbers.ts';

/** `look`: it asks whether it is there or what it is; `enter`: it makes it its working directory. */
export type Use = 'open' | 'list' | 'write' | 'execute' | 'look' | 'enter';

type FileCall = {
  /** Which argument is the path, and which the directory that it starts at, if any. */
  readonly path: number;
  readonly directory?: number;
  readonly use: Use | { readonly byFlags: number } | { readonly byFlagsAt: number };
};

const CALLS: ReadonlyMap<number, FileCall> = new Map<number, FileCall>([
  [SYS.open, { path: 0, use: { byFlags: 1 } }],
  [SYS.openat, { directory: 0, path: 1, use: { byFlags: 2 } }],
  [SYS.openat2, { directory: 0, path: 1, use: { byFlagsAt: 2 } }],
  [SYS.creat, { path: 0, use: 'write' }],
  [SYS.execve, { path: 0, use: 'execute' }],
  [SYS.execveat, { directory: 0, path: 1, use: 'execute' }],
  [SYS.stat, { path: 0, use: 'look' }],
  [SYS.lstat, { path: 0, use: 'look' }],
  [SYS.newfstatat, { directory: 0, path: 1, use: 'look' }],
  [SYS.statx, { directory: 0, path: 1, use: 'look' }],
  [SYS.access, { path: 0, use: 'look' }],
  [SYS.faccessat, { directory: 0, path: 1, use: 'look' }],
  [SYS.faccessat2, { directory: 0, path: 1, use: 'look' }],
  [SYS.readlink, { path: 0, use: 'look' }],
  [SYS.readlinkat, { directory: 0, path: 1, use: 'look' }],
  [SYS.chdir, { path: 0, use: 'enter' }],
  [SYS.mkdir, { path: 0, use: 'write' }],
  [SYS.mkdirat, { directory: 0, path: 1, use: 'write' }],
  [SYS.rename, { path: 1, use: 'write' }],
  [SYS.renameat, { directory: 2, path: 3, use: 'write' }],
  [SYS.renameat2, { directory: 2, path: 3, use: 'write' }],
  [SYS.unlink, { path: 0, use: 'write' }],
  [SYS.unlinkat, { directory: 0, path: 1, use: 'write' }],
]);

/** How the arguments of a call are read: from the memory of the thread that makes it. */
export type Reader = {
  readonly text: (address: bigint) => string | undefined;
  readonly word: (address: bigint) => bigint | undefined;
};

/** @returns undefined for a call that names no file. `directory` is a descriptor, or undefined for the working directory. */
export function fileCall(
  number: number,
  words: readonly bigint[],
  read: Reader,
): { readonly path: string; readonly directory: number | undefined; readonly use: Use } | undefined {
  const call = CALLS.get(number);
  if (call === undefined) return undefined;
  const path = read.text(words[call.path]!);
  if (path === undefined || path === '') return undefined;
  const descriptor = call.directory === undefined ? -1 : Number(BigInt.asIntN(32, words[call.directory]!));
  return { path, directory: descriptor < 0 ? undefined : descriptor, use: useOf(call.use, words, read) };
}

function useOf(use: FileCall['use'], words: readonly bigint[], read: Reader): Use {
  if (typeof use === 'string') return use;
  const flags = Number('byFlags' in use ? words[use.byFlags]! : (read.word(words[use.byFlagsAt]!) ?? 0n));
  if ((flags & (O.ACCMODE | O.CREAT)) !== 0) return 'write';
  return (flags & O.DIRECTORY) !== 0 ? 'list' : 'open';
}
