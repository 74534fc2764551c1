/**
 * An allow-list of system calls as a classic BPF program for seccomp(2): a binary search over ranges of numbers, so that a
 * call passes some eight comparisons, however long the list is. (The kernel also keeps a bitmap of the numbers that are
 * allowed whatever their arguments are, and does not run the program for those.)
 */
import { ENOSYS, EPERM } from './errno.ts';
import { SYS } from './syscall-numbers.ts';

export type SystemCall = keyof typeof SYS;

export function isSystemCall(name: string): name is SystemCall {
  return Object.hasOwn(SYS, name);
}

/** A condition on the low 32 bits of an argument (0 to 5). Pointers are not followed: seccomp cannot. */
export type ArgumentRule = {
  readonly argument: number;
  readonly test:
    | { readonly kind: 'one-of'; readonly values: readonly number[] }
    | { readonly kind: 'none-of'; readonly values: readonly number[] }
    | { readonly kind: 'no-bits-of'; readonly mask: number };
  /** Where it does not hold. */
  readonly errno: number;
};

export type CallRule = 'allow' | { readonly errno: number } | ArgumentRule;

type Instruction = readonly [code: number, whenTrue: number, whenFalse: number, constant: number];

const LOAD_WORD = 0x20;
const JUMP_EQUAL = 0x15;
const JUMP_GREATER_OR_EQUAL = 0x35;
const JUMP_ANY_BIT = 0x45;
const JUMP = 0x05;
const RETURN = 0x06;
const LONGEST_SHORT_JUMP = 255;
/** Offsets in struct seccomp_data. */
const DATA_NUMBER = 0;
const DATA_ARCHITECTURE = 4;
const DATA_ARGUMENTS = 16;
const ARCHITECTURE_X86_64 = 0xc000003e;
const RETURN_ALLOW = 0x7fff0000;
const RETURN_ERRNO = 0x00050000;

const allow: Instruction = [RETURN, 0, 0, RETURN_ALLOW];
const fail = (errno: number): Instruction => [RETURN, 0, 0, RETURN_ERRNO | errno];

/**
 * @param rules what is not in it fails with EPERM, if this program knows the number, and with ENOSYS, as on an older kernel,
 *   if not. Calls of another architecture (32-bit, x32) fail with ENOSYS, all of them.
 */
export function allowListProgram(rules: ReadonlyMap<SystemCall, CallRule>): Buffer {
  const byNumber = new Map<number, CallRule>([...rules].map(([name, rule]) => [SYS[name], rule]));
  const known = new Set<number>(Object.values(SYS));
  const last = Math.max(...known);
  const segments: Segment[] = [];
  for (let number = 0; number <= last + 1; number++) {
    const rule = byNumber.get(number) ?? { errno: known.has(number) ? EPERM : ENOSYS };
    const before = segments.at(-1);
    if (before === undefined || !isSame(before.rule, rule)) segments.push({ from: number, rule });
  }
  return encode([
    [LOAD_WORD, 0, 0, DATA_ARCHITECTURE],
    [JUMP_EQUAL, 1, 0, ARCHITECTURE_X86_64],
    fail(ENOSYS),
    [LOAD_WORD, 0, 0, DATA_NUMBER],
    ...search(segments),
  ]);
}

/** A rule for the numbers from one on, up to the next segment. */
type Segment = { readonly from: number; readonly rule: CallRule };

function isSame(a: CallRule, b: CallRule): boolean {
  if (a === 'allow' || b === 'allow') return a === b;
  return !('test' in a) && !('test' in b) && a.errno === b.errno;
}

function search(segments: readonly Segment[]): Instruction[] {
  if (segments.length === 1) return leaf(segments[0]!.rule);
  const middle = segments.length >> 1;
  const left = search(segments.slice(0, middle));
  const right = search(segments.slice(middle));
  const { from } = segments[middle]!;
  if (left.length <= LONGEST_SHORT_JUMP) return [[JUMP_GREATER_OR_EQUAL, left.length, 0, from], ...left, ...right];
  return [[JUMP_GREATER_OR_EQUAL, 0, 1, from], [JUMP, 0, 0, left.length], ...left, ...right];
}

function leaf(rule: CallRule): Instruction[] {
  if (rule === 'allow') return [allow];
  if (!('test' in rule)) return [fail(rule.errno)];
  const { argument, test, errno } = rule;
  const load: Instruction = [LOAD_WORD, 0, 0, DATA_ARGUMENTS + argument * 8];
  if (test.kind === 'no-bits-of') return [load, [JUMP_ANY_BIT, 0, 1, test.mask], fail(errno), allow];
  // The one that is met jumps behind the first of the two returns.
  const found = test.values.map((value, index): Instruction => [JUMP_EQUAL, test.values.length - index, 0, value]);
  return [load, ...found, ...(test.kind === 'one-of' ? [fail(errno), allow] : [allow, fail(errno)])];
}

/** struct sock_filter of linux/filter.h. */
function encode(instructions: readonly Instruction[]): Buffer {
  const program = Buffer.alloc(instructions.length * 8);
  for (const [index, [code, whenTrue, whenFalse, constant]] of instructions.entries()) {
    program.writeUInt16LE(code, index * 8);
    program.writeUInt8(whenTrue, index * 8 + 2);
    program.writeUInt8(whenFalse, index * 8 + 3);
    program.writeUInt32LE(constant >>> 0, index * 8 + 4);
  }
  return program;
}
