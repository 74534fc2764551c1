/**
 * The agent: a small mapping that the engine owns inside a traced process, with the code that runs injected system calls
 * and room for their arguments.
 *
 *     base ┌───────────┐
 *          │ code      │ call, batch loop, doorbell, recovery, fork
 *          ├───────────┤ TABLE
 *          │ calls     │ CALLS entries of eight words: number, six arguments, result
 *          ├───────────┤ FRAME
 *          │ frame     │ signal frame with the thread's own state, see recovery
 *          ├───────────┤ SCRATCH
 *          │ scratch   │ what the calls point at
 *          └───────────┘ base + size
 *
 * When its calls are done the code sends itself the *doorbell*, a signal that the process itself ignores. A traced thread
 * stops there, in a signal-delivery stop. Where the tracer has died in the middle, nobody stops it: the signal is
 * ignored, and `rt_sigreturn` from the frame puts the thread back to where it was taken from, registers, extended state
 * and signal mask. An `int3` would have killed it.
 */
import { assert } from '../base/assert.ts';
import type { ProcessMemory } from './memory.ts';
import { CALL_BYTES, encodeCalls, MAKE_NEXT_CALL, RESULT_OFFSET, type RemoteCall } from './remote-call.ts';

const TABLE = 0x1000n;
const FRAME = 0x6000n;
const SCRATCH = 0xa000n;
/** How many calls one run of the batch loop takes. */
export const CALLS = Number(FRAME - TABLE) / CALL_BYTES;
/** The least size of an agent that leaves some scratch. */
export const AGENT_BYTES = 0x10000n;

const CODE = Buffer.from(
  [
    '0f05', //         call:  syscall
    '4889c5', //              mov rbp, rax
    'eb2a', //                jmp done
    MAKE_NEXT_CALL, // batch:
    '75d6', //                jnz batch
    'b8ba000000', //   done:  mov eax, gettid
    '0f05', //                syscall
    '89c7', //                mov edi, eax
    '4489fe', //              mov esi, r15d
    'b8c8000000', //          mov eax, tkill
    '0f05', //                syscall
    'b80f000000', //   end:   mov eax, rt_sigreturn
    '0f05', //                syscall
    '0f0b', //                ud2
    // Makes r12 calls from rbx on; forks, if r13 is not 0; makes r14 calls from r13 on.
    '4d85e4', //       fork:  test r12, r12
    '742a', //                jz part
    MAKE_NEXT_CALL,
    'ebd1', //                jmp fork
    '4d85ed', //       part:  test r13, r13
    '74b0', //                jz done
    '4c89eb', //              mov rbx, r13
    '4d89f4', //              mov r12, r14
    '4531ed', //              xor r13d, r13d
    'bf00450000', //          mov edi, CLONE_VM | CLONE_FILES | CLONE_VFORK
    '31f6', //                xor esi, esi
    '31d2', //                xor edx, edx
    '4531d2', //              xor r10d, r10d
    '4531c0', //              xor r8d, r8d
    'b838000000', //          mov eax, clone
    '0f05', //                syscall
    '4889c5', //              mov rbp, rax
    '4885c0', //              test rax, rax
    '78a5', //                js fork
    '7415', //                jz between
    '89c7', //                mov edi, eax
    '31f6', //                xor esi, esi
    'ba00000040', //          mov edx, __WALL
    '4531d2', //              xor r10d, r10d
    'b83d000000', //          mov eax, wait4
    '0f05', //                syscall
    'eb8e', //                jmp fork
    // The process between the two, which only lives to make the clone: a child of the traced process itself would be
    // visible to it. Both end here at once when nobody traces them.
    'bf00040000', // between: mov edi, CLONE_FILES
    'b838000000', //          mov eax, clone
    '0f05', //                syscall
    'f7d8', //                neg eax
    '89c7', //                mov edi, eax
    'b8e7000000', //          mov eax, exit_group
    '0f05', //                syscall
    '0f0b', //                ud2
  ].join(''),
  'hex',
);
const CALL = 0n;
const BATCH = 7n;
const END = 68n;
const FORK = 77n;

/** Where a mark of {@link Agent.mark} stands. */
export type ScratchMark = { readonly used: number };

export class Agent {
  readonly base: bigint;
  readonly size: bigint;
  readonly #memory: ProcessMemory;
  /** Whose state the frame has, if anybody's. */
  frameOwner: unknown = null;
  #used = 0;

  private constructor(memory: ProcessMemory, base: bigint, size: bigint) {
    assert(size >= AGENT_BYTES, 'an agent without scratch');
    this.#memory = memory;
    this.base = base;
    this.size = size;
  }

  /** Takes over a mapping that is readable, writable and executable. */
  static install(memory: ProcessMemory, base: bigint, size: bigint): Agent {
    memory.write(base, CODE);
    return new Agent(memory, base, size);
  }

  /** The agent that a process has from the one it was cloned from. */
  static inherited(memory: ProcessMemory, { base, size }: Agent): Agent {
    return new Agent(memory, base, size);
  }

  get callAddress(): bigint {
    return this.base + CALL;
  }
  get batchAddress(): bigint {
    return this.base + BATCH;
  }
  /** Where a thread stands when its doorbell has rung. */
  get endAddress(): bigint {
    return this.base + END;
  }
  /** Where the code begins that makes calls, forks, and makes more calls; see linux/fork.ts. */
  get forkAddress(): bigint {
    return this.base + FORK;
  }
  get tableAddress(): bigint {
    return this.base + TABLE;
  }
  get frameAddress(): bigint {
    return this.base + FRAME;
  }

  /** Reserves scratch, aligned to 16 bytes; its contents are whatever was there. */
  reserve(length: number): bigint {
    const at = SCRATCH + BigInt(this.#used);
    this.#used += (length + 15) & ~15;
    assert(
      SCRATCH + BigInt(this.#used) <= this.size,
      'the scratch memory of the agent is full: release what is used up',
    );
    return this.base + at;
  }

  /** Puts bytes into scratch. @returns their address in the tracee. */
  put(bytes: Uint8Array): bigint {
    const address = this.reserve(bytes.length);
    this.#memory.write(address, bytes);
    return address;
  }

  /** At most {@link CALLS}. */
  writeCalls(calls: readonly RemoteCall[]): void {
    this.#memory.write(this.tableAddress, encodeCalls(calls));
  }

  /** What the calls gave when they had been made: a value or a negative errno. */
  readResults(count: number): bigint[] {
    const table = this.#memory.read(this.tableAddress, count * CALL_BYTES);
    return Array.from({ length: count }, (_, index) => table.readBigInt64LE(index * CALL_BYTES + RESULT_OFFSET));
  }

  mark(): ScratchMark {
    return { used: this.#used };
  }

  /** Gives back everything reserved since the mark. */
  release(mark: ScratchMark): void {
    assert(mark.used <= this.#used, 'scratch marks released in the wrong order');
    this.#used = mark.used;
  }
}
