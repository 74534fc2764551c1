/**
 * The frame that rt_sigreturn(2) takes a thread's state from (struct rt_sigframe of asm/sigframe.h, from its ucontext on):
 * written by hand, it puts a thread that was made to run injected calls back to where it was.
 */
import type { RegisterName, Registers } from './registers.ts';
import { SYS } from './syscall-numbers.ts';

/** UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS. */
const UC_FLAGS = 7n;
/** Neither on, nor off, nor disabled: the kernel leaves the alternate stack alone. */
const NO_STACK_MODE = 4;
const STACK_FLAGS_OFFSET = 24;
const CONTEXT_OFFSET = 40;
const SIGMASK_OFFSET = 296;
const EXTENDED_STATE_POINTER = CONTEXT_OFFSET + 184;
const SEGMENTS_OFFSET = CONTEXT_OFFSET + 144;
/** Behind the mask, at the alignment of XSAVE areas. */
const EXTENDED_STATE_OFFSET = 320;

/** The registers of struct sigcontext in its order. */
const CONTEXT: readonly RegisterName[] = [
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
  'rdi',
  'rsi',
  'rbp',
  'rbx',
  'rdx',
  'rax',
  'rcx',
  'rsp',
  'rip',
  'eflags',
];

/** struct _fpx_sw_bytes of asm/sigcontext.h, in the software-reserved bytes of an XSAVE area. */
const SOFTWARE_OFFSET = 464;
const MAGIC_1 = 0x46505853;
const MAGIC_2 = 0x46505845;
/** XFEATURE_XTILE_DATA, which a thread has room for only once it has asked for it; the last component. */
const TILE_DATA = 1n << 18n;
const TILE_DATA_BYTES = 8192;

const FIRST_RESTART_CODE = -516n;
const LAST_RESTART_CODE = -512n;
const EINTR = -4n;

/** The registers of a thread that is to go on by itself: a system call that was cut short starts again. */
function settled(registers: Registers): Registers {
  const own = registers.clone();
  const number = own.getSigned('orig_rax');
  const result = own.getSigned('rax');
  if (number < 0n || result < FIRST_RESTART_CODE || result > LAST_RESTART_CODE) return own;
  // What restart_syscall goes on with is lost when a frame is taken.
  if (number === BigInt(SYS.restart_syscall)) return own.set('rax', EINTR);
  return own.set('rax', number).set('rip', own.get('rip') - 2n);
}

/**
 * @param extendedState as PTRACE_GETREGSET gives it; PTRACE's form is that of the frame but for the software-reserved
 *   bytes.
 * @param address where the frame will stand, aligned to 64 bytes.
 */
export function encodeSignalFrame(
  registers: Registers,
  extendedState: Uint8Array,
  signalMask: bigint,
  address: bigint,
): Buffer {
  const own = settled(registers);
  const frame = Buffer.alloc(EXTENDED_STATE_OFFSET + extendedState.length + 4);
  frame.writeBigUInt64LE(UC_FLAGS, 0);
  frame.writeInt32LE(NO_STACK_MODE, STACK_FLAGS_OFFSET);
  for (const [index, name] of CONTEXT.entries()) frame.writeBigUInt64LE(own.get(name), CONTEXT_OFFSET + index * 8);
  for (const [index, name] of (['cs', 'gs', 'fs', 'ss'] as const).entries())
    frame.writeUInt16LE(Number(own.get(name) & 0xffffn), SEGMENTS_OFFSET + index * 2);
  frame.writeBigUInt64LE(address + BigInt(EXTENDED_STATE_OFFSET), EXTENDED_STATE_POINTER);
  frame.writeBigUInt64LE(signalMask, SIGMASK_OFFSET);

  const state = frame.subarray(EXTENDED_STATE_OFFSET);
  state.set(extendedState);
  const components = state.readBigUInt64LE(SOFTWARE_OFFSET);
  // A thread without tile data has a smaller area, and the kernel takes no larger one.
  const hasTiles = (state.readBigUInt64LE(512) & TILE_DATA) !== 0n;
  const length =
    (components & TILE_DATA) !== 0n && !hasTiles ? extendedState.length - TILE_DATA_BYTES : extendedState.length;
  state.fill(0, SOFTWARE_OFFSET, SOFTWARE_OFFSET + 48);
  state.writeUInt32LE(MAGIC_1, SOFTWARE_OFFSET);
  state.writeUInt32LE(length + 4, SOFTWARE_OFFSET + 4);
  state.writeBigUInt64LE(hasTiles ? components : components & ~TILE_DATA, SOFTWARE_OFFSET + 8);
  state.writeUInt32LE(length, SOFTWARE_OFFSET + 16);
  state.writeUInt32LE(MAGIC_2, length);
  return frame.subarray(0, EXTENDED_STATE_OFFSET + length + 4);
}
