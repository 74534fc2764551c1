/**
 * Many system calls of this program in one call of the foreign function interface: from JavaScript each costs about twice as
 * much as the kernel takes for it, and several times as much where the code is not in the CPU's caches.
 *
 * The loop is the agent's (linux/agent.ts), in a page of this program's own. Where the kernel gives no page that can be
 * run, the calls are made one by one.
 */
import koffi from 'koffi';
import { assert } from '../base/assert.ts';
import { type Argument, addressOf, trySyscall } from './libc.ts';
import { CALL_BYTES, MAKE_NEXT_CALL, RESULT_OFFSET } from './remote-call.ts';
import { SYS } from './syscall-numbers.ts';

const CODE = Buffer.from(
  [
    '53', //             push rbx
    '4154', //           push r12
    '4889fb', //         mov rbx, rdi
    '4989f4', //         mov r12, rsi
    MAKE_NEXT_CALL, // next:
    '75d6', //           jnz next
    '415c', //           pop r12
    '5b', //             pop rbx
    'c3', //             ret
  ].join(''),
  'hex',
);

const PAGE_BYTES = 4096;
const PROT_READ_WRITE = 3;
const PROT_READ_EXEC = 5;
const MAP_PRIVATE_ANONYMOUS = 0x22;

type Run = (table: Buffer, calls: number) => void;

function nativeRun(): Run | null {
  const page = trySyscall(SYS.mmap, 0, PAGE_BYTES, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  if (page < 0) return null;
  koffi.encode(BigInt(page), koffi.array('uint8_t', CODE.length), CODE);
  if (trySyscall(SYS.mprotect, page, PAGE_BYTES, PROT_READ_EXEC) < 0) {
    trySyscall(SYS.munmap, page, PAGE_BYTES);
    return null;
  }
  const run = koffi.decode(BigInt(page), koffi.proto('void', ['uintptr_t', 'uintptr_t'])) as (
    table: bigint,
    calls: number,
  ) => void;
  return (table, calls) => run(addressOf(table), calls);
}

function runOneByOne(table: Buffer, calls: number): void {
  for (let at = 0; at < calls * CALL_BYTES; at += CALL_BYTES) {
    const word = (index: number): bigint => table.readBigUInt64LE(at + 8 * index);
    const result = trySyscall(Number(word(0)), word(1), word(2), word(3), word(4), word(5), word(6));
    table.writeBigInt64LE(BigInt(result), at + RESULT_OFFSET);
  }
}

const runCalls: Run = nativeRun() ?? runOneByOne;

/** A list of calls that is made again and again. */
export class SyscallBatch {
  readonly #table: Buffer;
  /** What stands in the table by its address alone. */
  readonly #buffers: Uint8Array[] = [];
  #used = 0;

  /** @param capacity the most calls. */
  constructor(capacity: number) {
    this.#table = Buffer.alloc(capacity * CALL_BYTES);
  }

  get length(): number {
    return this.#used;
  }

  /** @param args as of trySyscall; buffers are kept referenced. @returns the position of the call. */
  add(number: number, ...args: Argument[]): number {
    const at = this.#used * CALL_BYTES;
    assert(at < this.#table.length, 'more calls than the batch was made for');
    this.#table.writeUInt32LE(number, at);
    for (const [index, argument] of args.entries()) this.set(this.#used, index, argument);
    return this.#used++;
  }

  /** Changes an argument of a call. */
  set(position: number, index: number, argument: Argument): void {
    const at = position * CALL_BYTES + 8 + index * 8;
    if (argument instanceof Uint8Array) {
      this.#buffers.push(argument);
      this.#table.writeBigUInt64LE(addressOf(argument), at);
    } else this.#table.writeBigInt64LE(BigInt.asIntN(64, BigInt(argument ?? 0)), at);
  }

  /** Makes all calls, one after the other, whatever they give. */
  run(): void {
    if (this.#used > 0) runCalls(this.#table, this.#used);
  }

  /** What a call gave: the result or the negated errno. */
  result(position: number): number {
    return Number(this.#table.readBigInt64LE(position * CALL_BYTES + RESULT_OFFSET));
  }

  /** Whether all calls gave what those of `other`, which has as many, did. */
  gaveSame(other: SyscallBatch): boolean {
    for (let at = RESULT_OFFSET; at < this.#used * CALL_BYTES; at += CALL_BYTES)
      if (this.#table.readInt32LE(at) !== other.#table.readInt32LE(at)) return false;
    return true;
  }

  /** Whether all calls gave 0. */
  get allZero(): boolean {
    for (let position = 0; position < this.#used; position++) {
      const at = position * CALL_BYTES + RESULT_OFFSET;
      if (this.#table.readInt32LE(at) !== 0 || this.#table.readInt32LE(at + 4) !== 0) return false;
    }
    return true;
  }
}
