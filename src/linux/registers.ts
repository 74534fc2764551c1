/**
 * The general registers of a thread: `struct user_regs_struct` of x86-64 (sys/user.h), 27 words of 64 bits. The kernel's
 * register set NT_PRSTATUS has the same layout.
 */
const ORDER = [
  'r15',
  'r14',
  'r13',
  'r12',
  'rbp',
  'rbx',
  'r11',
  'r10',
  'r9',
  'r8',
  'rax',
  'rcx',
  'rdx',
  'rsi',
  'rdi',
  'orig_rax',
  'rip',
  'cs',
  'eflags',
  'rsp',
  'ss',
  'fs_base',
  'gs_base',
  'ds',
  'es',
  'fs',
  'gs',
] as const;

export type RegisterName = (typeof ORDER)[number];

const OFFSET = Object.fromEntries(ORDER.map((name, index) => [name, index * 8])) as Readonly<
  Record<RegisterName, number>
>;

const REGISTERS_BYTES = ORDER.length * 8;

/** A view of a register block; values are unsigned unless read by {@link getSigned}. */
export class Registers {
  readonly bytes: Buffer;

  constructor(bytes: Buffer = Buffer.alloc(REGISTERS_BYTES)) {
    this.bytes = bytes;
  }

  get(name: RegisterName): bigint {
    return this.bytes.readBigUInt64LE(OFFSET[name]);
  }

  /** For results (a negative errno) and `orig_rax` (-1: not in a system call). */
  getSigned(name: RegisterName): bigint {
    return this.bytes.readBigInt64LE(OFFSET[name]);
  }

  set(name: RegisterName, value: bigint | number): this {
    this.bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), OFFSET[name]);
    return this;
  }

  copyFrom(other: Registers): this {
    other.bytes.copy(this.bytes);
    return this;
  }

  clone(): Registers {
    return new Registers(Buffer.from(this.bytes));
  }
}
