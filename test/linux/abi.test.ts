/** Layouts and numbers of the kernel's against its own headers, where there is a C compiler to read them. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CLONE_ARGUMENTS_BYTES, encodeCloneArguments } from '../../src/linux/clone-arguments.ts';
import { REGISTER_SET, TRACE_EVENT, TRACE_OPTION } from '../../src/linux/ptrace.ts';
import { type RegisterName, Registers } from '../../src/linux/registers.ts';
import { encodeSignalFrame } from '../../src/linux/signal-frame.ts';
import { SIGNAL } from '../../src/linux/signals.ts';
import { SYS } from '../../src/linux/syscall-numbers.ts';
import {
  COPY_MODE,
  FEATURE,
  MESSAGE_BYTES,
  REGISTER_MODE,
  UFFDIO,
  USER_MODE_ONLY,
  USERFAULTFD_IOC_NEW,
} from '../../src/linux/userfaultfd.ts';

const INCLUDES = [
  'stddef.h',
  'stdio.h',
  'signal.h',
  'ucontext.h',
  'sys/user.h',
  'sys/ioctl.h',
  'sys/syscall.h',
  'linux/elf.h',
  'linux/ptrace.h',
  'linux/sched.h',
  'linux/userfaultfd.h',
];

/** The values of integer expressions of C. */
function evaluate(expressions: readonly string[]): number[] {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-abi-'));
  try {
    const source = join(directory, 'probe.c');
    const lines = expressions.map((expression) => `printf("%lld\\n", (long long)(${expression}));`);
    const includes = INCLUDES.map((name) => `#include <${name}>`);
    writeFileSync(source, ['#define _GNU_SOURCE', ...includes, 'int main(void) {', ...lines, '}'].join('\n'));
    execFileSync('gcc', ['-o', join(directory, 'probe'), source], { stdio: ['ignore', 'ignore', 'pipe'] });
    return execFileSync(join(directory, 'probe'), { encoding: 'utf8' }).trim().split('\n').map(Number);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function assertEqual(expected: Readonly<Record<string, number>>): void {
  const names = Object.keys(expected);
  const values = evaluate(names);
  assert.deepEqual(Object.fromEntries(names.map((name, index) => [name, values[index]])), expected);
}

// No part of the set-up: a machine without a compiler is complete, MUST_RUN or not.
const skip = spawnSync('gcc', ['--version']).error === undefined ? false : 'there is no C compiler here';

/** Where the kernel's name is a longer one. */
const OPTION_NAMES: Readonly<Record<string, string>> = {
  SYSGOOD: 'TRACESYSGOOD',
  FORK: 'TRACEFORK',
  VFORK: 'TRACEVFORK',
  CLONE: 'TRACECLONE',
  EXEC: 'TRACEEXEC',
  EXIT: 'TRACEEXIT',
};

test('numbers of ptrace, signals and system calls', { skip }, () => {
  const options = Object.entries(TRACE_OPTION).map(([name, value]): [string, number] => [
    `PTRACE_O_${OPTION_NAMES[name] ?? name}`,
    value,
  ]);
  const events = Object.entries(TRACE_EVENT).map(([name, value]): [string, number] => [`PTRACE_EVENT_${name}`, value]);
  const signals = Object.entries(SIGNAL).map(([name, value]): [string, number] => [`SIG${name}`, value]);
  const calls = (
    ['epoll_pwait2', 'clone3', 'pidfd_getfd', 'rseq', 'restart_syscall', 'process_vm_writev'] as const
  ).map((name): [string, number] => [`SYS_${name}`, SYS[name]]);
  const { X86_XSTATE, PRSTATUS } = REGISTER_SET;
  assertEqual({
    ...Object.fromEntries([...options, ...events, ...signals, ...calls]),
    NT_PRSTATUS: PRSTATUS,
    NT_X86_XSTATE: X86_XSTATE,
  });
});

test('registers', { skip }, () => {
  const names: readonly RegisterName[] = [
    'r15',
    'rbx',
    'rax',
    'rdi',
    'orig_rax',
    'rip',
    'eflags',
    'rsp',
    'fs_base',
    'gs',
  ];
  const offset = (name: RegisterName): number => new Registers().set(name, 0xff).bytes.indexOf(0xff);
  assertEqual({
    'sizeof(struct user_regs_struct)': new Registers().bytes.length,
    ...Object.fromEntries(names.map((name) => [`offsetof(struct user_regs_struct, ${name})`, offset(name)])),
  });
});

test('arguments of clone3', { skip }, () => {
  const bytes = encodeCloneArguments(0x1000n, 0xab, 7);
  assertEqual({
    'sizeof(struct clone_args)': CLONE_ARGUMENTS_BYTES,
    'offsetof(struct clone_args, flags)': bytes.indexOf(0xab),
    'offsetof(struct clone_args, set_tid)': bytes.indexOf(Buffer.from([0x58, 0x10])),
    'offsetof(struct clone_args, set_tid_size)': bytes.indexOf(1),
  });
});

test('the frame of rt_sigreturn', { skip }, () => {
  const registers = new Registers();
  const mark = (name: RegisterName, value: bigint): Registers => registers.set(name, value);
  mark('r8', 0x11n).set('rsp', 0x22n).set('rip', 0x33n).set('eflags', 0x44n).set('cs', 0x55n).set('orig_rax', -1n);
  const frame = encodeSignalFrame(registers, Buffer.alloc(2696), 0x66n, 0x7777_0000n);
  const greg = (name: string): string => `offsetof(ucontext_t, uc_mcontext.gregs[REG_${name}])`;
  assertEqual({
    [greg('R8')]: frame.indexOf(0x11),
    [greg('RSP')]: frame.indexOf(0x22),
    [greg('RIP')]: frame.indexOf(0x33),
    [greg('EFL')]: frame.indexOf(0x44),
    [greg('CSGSFS')]: frame.indexOf(0x55),
    'offsetof(ucontext_t, uc_sigmask)': frame.indexOf(0x66),
    'offsetof(ucontext_t, uc_mcontext.fpregs)': frame.indexOf(Buffer.from([0x40, 0x01, 0x77, 0x77])),
    'offsetof(ucontext_t, uc_stack.ss_flags)': frame.indexOf(4, 8),
  });
});

test('userfaultfd', { skip }, () => {
  const named = (prefix: string, values: Readonly<Record<string, number>>): [string, number][] =>
    Object.entries(values).map(([name, value]) => [`${prefix}${name}`, value]);
  // The headers of Debian 12 are older than these.
  const { WP_UNPOPULATED: _, WP_ASYNC: __, ...features } = FEATURE;
  assertEqual({
    ...Object.fromEntries(named('UFFDIO_', UFFDIO)),
    ...Object.fromEntries(named('UFFD_FEATURE_', features)),
    ...Object.fromEntries(named('UFFDIO_REGISTER_MODE_', REGISTER_MODE)),
    ...Object.fromEntries(named('UFFDIO_COPY_MODE_', COPY_MODE)),
    USERFAULTFD_IOC_NEW,
    UFFD_USER_MODE_ONLY: USER_MODE_ONLY,
    'sizeof(struct uffd_msg)': MESSAGE_BYTES,
    'offsetof(struct uffdio_copy, copy)': 32,
    'offsetof(struct uffdio_zeropage, zeropage)': 24,
    'offsetof(struct uffd_msg, arg)': 8,
    'offsetof(struct uffd_msg, arg.pagefault.feat.ptid)': 24,
  });
});
