/**
 * The system calls that a sandbox may make. Whatever reads, writes, talks over the network, waits, or manages the process's
 * own memory, threads and identity; nothing that acts on the machine, looks into another process, or makes namespaces and
 * mounts. docs/security.md has the reasons for what is missing.
 */
import { assert } from '../base/assert.ts';
import { ComicranError } from '../base/errors.ts';
import type { SecuritySpec } from '../base/sandbox-config.ts';
import { EAFNOSUPPORT, ENOSYS, EPERM } from '../linux/errno.ts';
import { allowListProgram, type CallRule, isSystemCall, type SystemCall } from '../linux/seccomp-program.ts';

const FILES: readonly SystemCall[] = [
  ...(['read', 'write', 'open', 'close', 'stat', 'fstat', 'lstat', 'lseek', 'pread64', 'pwrite64', 'readv'] as const),
  ...(['writev', 'access', 'dup', 'dup2', 'dup3', 'fcntl', 'flock', 'fsync', 'fdatasync', 'truncate'] as const),
  ...(['ftruncate', 'getdents', 'getdents64', 'getcwd', 'chdir', 'fchdir', 'rename', 'mkdir', 'rmdir'] as const),
  ...(['creat', 'link', 'unlink', 'symlink', 'readlink', 'chmod', 'fchmod', 'chown', 'fchown', 'lchown'] as const),
  ...(['umask', 'utime', 'utimes', 'futimesat', 'utimensat', 'statfs', 'fstatfs', 'sync', 'syncfs'] as const),
  ...(['sync_file_range', 'openat', 'openat2', 'mkdirat', 'fchownat', 'newfstatat', 'unlinkat', 'renameat'] as const),
  ...(['renameat2', 'linkat', 'symlinkat', 'readlinkat', 'fchmodat', 'faccessat', 'faccessat2', 'statx'] as const),
  ...(['fallocate', 'fadvise64', 'readahead', 'sendfile', 'splice', 'tee', 'vmsplice', 'copy_file_range'] as const),
  ...(['preadv', 'pwritev', 'preadv2', 'pwritev2', 'close_range', 'memfd_create', 'mknod', 'mknodat'] as const),
  ...(['getxattr', 'lgetxattr', 'fgetxattr', 'listxattr', 'llistxattr', 'flistxattr', 'setxattr'] as const),
  ...(['lsetxattr', 'fsetxattr', 'removexattr', 'lremovexattr', 'fremovexattr'] as const),
  ...(['inotify_init', 'inotify_init1', 'inotify_add_watch', 'inotify_rm_watch'] as const),
];

const NETWORK_AND_PIPES: readonly SystemCall[] = [
  ...(['connect', 'accept', 'accept4', 'sendto', 'recvfrom', 'sendmsg', 'recvmsg', 'sendmmsg', 'recvmmsg'] as const),
  ...(['shutdown', 'bind', 'listen', 'getsockname', 'getpeername', 'socketpair', 'setsockopt'] as const),
  ...(['getsockopt', 'pipe', 'pipe2', 'eventfd', 'eventfd2', 'signalfd', 'signalfd4'] as const),
];

const WAITING: readonly SystemCall[] = [
  ...(['poll', 'ppoll', 'select', 'pselect6', 'epoll_create', 'epoll_create1', 'epoll_ctl', 'epoll_wait'] as const),
  ...(['epoll_pwait', 'epoll_pwait2', 'pause', 'nanosleep', 'clock_nanosleep', 'restart_syscall', 'alarm'] as const),
  ...(['getitimer', 'setitimer', 'timer_create', 'timer_settime', 'timer_gettime', 'timer_getoverrun'] as const),
  ...(['timer_delete', 'timerfd_create', 'timerfd_settime', 'timerfd_gettime', 'gettimeofday', 'time'] as const),
  ...(['clock_gettime', 'clock_getres', 'futex', 'futex_waitv', 'sched_yield'] as const),
];

const MEMORY: readonly SystemCall[] = [
  ...(['mmap', 'mprotect', 'munmap', 'brk', 'mremap', 'msync', 'mincore', 'madvise', 'mlock', 'mlock2'] as const),
  ...(['munlock', 'mlockall', 'munlockall', 'membarrier', 'get_mempolicy', 'set_mempolicy', 'rseq'] as const),
  ...(['shmget', 'shmat', 'shmctl', 'shmdt', 'semget', 'semop', 'semctl', 'semtimedop', 'msgget', 'msgsnd'] as const),
  ...(['msgrcv', 'msgctl', 'mq_open', 'mq_unlink', 'mq_timedsend', 'mq_timedreceive', 'mq_notify'] as const),
  ...(['mq_getsetattr', 'io_setup', 'io_destroy', 'io_getevents', 'io_pgetevents', 'io_submit'] as const),
  'io_cancel',
];

const PROCESSES: readonly SystemCall[] = [
  ...(['fork', 'vfork', 'execve', 'execveat', 'exit', 'exit_group', 'wait4', 'waitid', 'kill', 'tkill'] as const),
  ...(['tgkill', 'rt_sigaction', 'rt_sigprocmask', 'rt_sigreturn', 'rt_sigpending', 'rt_sigtimedwait'] as const),
  ...(['rt_sigqueueinfo', 'rt_tgsigqueueinfo', 'rt_sigsuspend', 'sigaltstack', 'set_tid_address'] as const),
  ...(['set_robust_list', 'get_robust_list', 'arch_prctl', 'prctl', 'getpid', 'getppid', 'gettid', 'uname'] as const),
  ...(['getrlimit', 'setrlimit', 'prlimit64', 'getrusage', 'sysinfo', 'times', 'getrandom', 'getcpu'] as const),
  ...(['setpgid', 'getpgid', 'getpgrp', 'setsid', 'getsid', 'getpriority', 'setpriority', 'ioprio_get'] as const),
  ...(['ioprio_set', 'sched_setparam', 'sched_getparam', 'sched_setscheduler', 'sched_getscheduler'] as const),
  ...(['sched_get_priority_max', 'sched_get_priority_min', 'sched_rr_get_interval', 'sched_setaffinity'] as const),
  ...(['sched_getaffinity', 'sched_setattr', 'sched_getattr', 'pidfd_open', 'pidfd_send_signal'] as const),
  ...(['getuid', 'getgid', 'geteuid', 'getegid', 'getgroups', 'getresuid', 'getresgid', 'setuid'] as const),
  ...(['setgid', 'setreuid', 'setregid', 'setgroups', 'setresuid', 'setresgid', 'setfsuid', 'setfsgid'] as const),
  ...(['capget', 'capset', 'seccomp'] as const),
  ...(['landlock_create_ruleset', 'landlock_add_rule', 'landlock_restrict_self'] as const),
];

/** CLONE_NEW* of clone(2) as bits of its first argument. NEWTIME is none: it would be a signal number there. */
const NEW_NAMESPACES = 0x7e020000;
/** AF_UNIX, AF_INET, AF_INET6, AF_NETLINK (which getifaddrs(3) reads the links by). */
const FAMILIES = [1, 2, 10, 16];
const AF_PACKET = 17;
/** TIOCSTI, TIOCLINUX: they put characters into somebody else's terminal. */
const TERMINAL_INJECTION = [0x5412, 0x541c];
/** PER_LINUX, UNAME26, PER_LINUX32 and both; and the question which one it is. */
const PERSONALITIES = [0x0, 0x20000, 0x8, 0x20008, 0xffffffff];

/** What every sandbox may call in some way, by name. */
export const defaultSystemCalls = (): string[] =>
  [...defaultRules([])].filter(([, rule]) => rule === 'allow' || 'argument' in rule).map(([name]) => name);

function defaultRules(capabilities: readonly string[]): Map<SystemCall, CallRule> {
  const rules = new Map<SystemCall, CallRule>();
  for (const names of [FILES, NETWORK_AND_PIPES, WAITING, MEMORY, PROCESSES])
    for (const name of names) rules.set(name, 'allow');
  const families = capabilities.includes('NET_RAW') ? [...FAMILIES, AF_PACKET] : FAMILIES;
  const condition = (argument: number, kind: 'one-of' | 'none-of', values: readonly number[], errno: number) =>
    ({ argument, test: { kind, values }, errno }) as const;
  rules.set('clone', { argument: 0, test: { kind: 'no-bits-of', mask: NEW_NAMESPACES }, errno: EPERM });
  rules.set('socket', condition(0, 'one-of', families, EAFNOSUPPORT));
  rules.set('ioctl', condition(1, 'none-of', TERMINAL_INJECTION, EPERM));
  rules.set('personality', condition(0, 'one-of', PERSONALITIES, EPERM));
  // Its flags lie behind a pointer, where nobody can look at them. C libraries then use clone.
  rules.set('clone3', { errno: ENOSYS });
  // Programs do without what an older kernel does not have. A process with a ring could not be moved.
  for (const name of ['io_uring_setup', 'io_uring_enter', 'io_uring_register'] as const)
    rules.set(name, { errno: ENOSYS });
  for (const name of ['pkey_alloc', 'pkey_free', 'pkey_mprotect', 'memfd_secret'] as const)
    rules.set(name, { errno: ENOSYS });
  return rules;
}

/** What jailor lets the process do between putting the filter on and its program's first instruction. */
const BEHIND_THE_FILTER = ['gettid', 'tkill', 'rt_sigreturn', 'mmap', 'execve'];
const NO_SUCH_CALL = 'there is no such system call on x86-64';
/** Those that nobody can be given: what they make cannot be moved, or is no sandbox any more. */
const NEVER = ['io_uring_setup', 'io_uring_enter', 'io_uring_register'];

type Narrowed = Pick<SecuritySpec, 'systemCalls' | 'onlySystemCalls'>;

/** @throws ComicranError config.invalid: a name that is none, or that cannot be given. */
export function checkSystemCalls({ systemCalls, onlySystemCalls = [] }: Narrowed): void {
  for (const name of systemCalls) {
    if (!isSystemCall(name)) throw refused('systemCalls', name, NO_SUCH_CALL);
    if (NEVER.includes(name)) throw refused('systemCalls', name, 'a process that uses it cannot be moved');
  }
  const unknown = onlySystemCalls.find((name) => !isSystemCall(name));
  if (unknown !== undefined) throw refused('onlySystemCalls', unknown, NO_SUCH_CALL);
}

/** The default profile, for who compares another one with it. A call that is not in it fails. */
export function defaultProfile(capabilities: readonly string[]): ReadonlyMap<SystemCall, CallRule> {
  return defaultRules(capabilities);
}

/** The seccomp program of a sandbox whose names have been checked. Making it takes some milliseconds the first time. */
export function seccompProgram({ capabilities, systemCalls, onlySystemCalls }: SecuritySpec): Buffer {
  const rules = defaultRules(capabilities);
  for (const name of systemCalls) {
    assert(isSystemCall(name), 'the names of system calls have been checked');
    rules.set(name, 'allow');
  }
  if (onlySystemCalls === undefined) return allowListProgram(rules);
  const only = new Set([...onlySystemCalls, ...BEHIND_THE_FILTER]);
  // What fails as on an older kernel goes on to do so.
  const stays = (name: SystemCall, rule: CallRule): boolean =>
    only.has(name) || (rule !== 'allow' && !('test' in rule));
  return allowListProgram(new Map([...rules].filter(([name, rule]) => stays(name, rule))));
}

function refused(key: string, name: string, why: string): ComicranError {
  return new ComicranError('config.invalid', `security.${key}: ${name}: ${why}`, {
    hint: 'Correct the name, or leave it out.',
  });
}
