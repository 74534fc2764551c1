/** What makes a process one that cannot be moved, as phrases: everything but its memory and its descriptors. */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import type { FileLooks } from '../linux/file-digest.ts';
import { sharesDirectories } from '../linux/kcmp.ts';
import { readMounts } from '../linux/mountinfo.ts';
import { askThreads, readProcLink, readStat, readStatus, type StatusFile } from '../linux/procfs.ts';
import { getScheduling } from '../linux/scheduling.ts';

const ELF_CLASS_OFFSET = 4;
const ELF_CLASS_64 = 2;
const TTY_FIELD = 7;
const SCHED_DEADLINE = 6;
const DELETED = ' (deleted)';

export function findProcessProblems(pid: number): string[] {
  const status = readStatus(pid);
  const problems: string[] = [];
  switch (status.text('State')[0]) {
    case 'Z':
      problems.push('its main thread has ended');
      break;
    case 'T':
      problems.push('it is stopped by a signal');
      break;
    default:
  }
  const pidInside = status.innermost('NSpid');
  for (const [line, name] of [
    ['NSsid', 'session'],
    ['NSpgid', 'process group'],
  ] as const) {
    const leader = status.innermost(line);
    // 0: a process outside the sandbox leads it.
    if (leader !== 0 && leader !== pidInside) problems.push(`it is in the ${name} of process ${leader}`);
  }
  if (readStat(pid).text(TTY_FIELD) !== '0') problems.push('it has a controlling terminal');
  if (problems.length === 0 && !is64Bit(pid)) problems.push('it is a 32-bit program');
  return problems;
}

function is64Bit(pid: number): boolean {
  const descriptor = openSync(`/proc/${pid}/exe`, 'r');
  try {
    const head = Buffer.alloc(ELF_CLASS_OFFSET + 1);
    readSync(descriptor, head, 0, head.length, 0);
    return head[ELF_CLASS_OFFSET] === ELF_CLASS_64;
  } finally {
    closeSync(descriptor);
  }
}

/** Not the time namespace: a process that was moved here has one of its own. */
const OWN_NAMESPACES = ['net', 'mnt', 'uts', 'ipc', 'user', 'pid', 'cgroup'] as const;
/** Those that a thread can change for itself alone. */
const THREAD_NAMESPACES = ['net', 'mnt', 'uts', 'ipc', 'cgroup'] as const;

export function findThreadProblems(pid: number): string[] {
  const own = new Map(THREAD_NAMESPACES.map((name) => [name, readProcLink(pid, `ns/${name}`)]));
  const main = readStatus(pid);
  return askThreads(pid, (tid) => {
    const status = readStatus(pid, tid);
    const problems: string[] = [];
    const tracer = status.number('TracerPid');
    if (tracer !== 0) problems.push(`thread ${tid} is traced by process ${tracer}`);
    if (status.has('x86_Thread_features') && status.text('x86_Thread_features').includes('shstk'))
      problems.push(`thread ${tid} has a shadow stack`);
    if (getScheduling(tid).policy === SCHED_DEADLINE) problems.push(`thread ${tid} is scheduled by deadline`);
    if (status.text('Seccomp') === '1') problems.push(`thread ${tid} is in strict seccomp mode`);
    if (tid === pid) return problems;
    if (status.text('Seccomp') !== main.text('Seccomp') || filterCount(status) !== filterCount(main))
      problems.push(`thread ${tid} has seccomp filters of its own`);
    if (!sharesDirectories(pid, tid)) problems.push(`thread ${tid} has a working directory of its own`);
    for (const [name, namespace] of own)
      if (readProcLink(pid, `task/${tid}/ns/${name}`) !== namespace)
        problems.push(`thread ${tid} is in another ${name} namespace`);
    return problems;
  }).flat();
}

/** Kernels before 5.9 do not tell. */
function filterCount(status: StatusFile): string {
  return status.has('Seccomp_filters') ? status.text('Seccomp_filters') : '';
}

/** @param sandboxInit a process whose namespaces are those of the sandbox; null: not compared. */
export function findPlaceProblems(pid: number, files: FileLooks, sandboxInit: number | null): string[] {
  const problems: string[] = [];
  const namespace = (of: number, name: string): string => readProcLink(of, `ns/${name}`);
  for (const name of ['pid', 'time'])
    if (namespace(pid, name) !== namespaceOfChildren(pid, name))
      problems.push(`it has another ${name} namespace for its children`);
  for (const name of sandboxInit === null ? [] : OWN_NAMESPACES)
    if (namespace(pid, name) !== namespace(sandboxInit!, name))
      problems.push(`its ${name} namespace is not the sandbox's`);
  if (!readMounts(pid).some(({ mountPoint }) => mountPoint === '/')) problems.push('it has changed its root directory');

  const directory = readProcLink(pid, 'cwd');
  if (!isThere(pid, directory, 'cwd')) problems.push(`its working directory ${directory} is not there any more`);
  const executable = readProcLink(pid, 'exe');
  if (!isThere(pid, executable, 'exe') || files.look(`/proc/${pid}/root${executable}`) === null)
    problems.push(`its executable ${executable} is not there any more`);
  return problems;
}

/** A PID namespace without a first process cannot be read. */
function namespaceOfChildren(pid: number, name: string): string | null {
  try {
    return readProcLink(pid, `ns/${name}_for_children`);
  } catch {
    return null;
  }
}

/** Whether a path of the process leads to what a link of /proc/PID refers to. */
function isThere(pid: number, path: string, link: string): boolean {
  if (!path.startsWith('/') || path.endsWith(DELETED)) return false;
  const named = statSync(`/proc/${pid}/root${path}`, { bigint: true, throwIfNoEntry: false });
  const meant = statSync(`/proc/${pid}/${link}`, { bigint: true, throwIfNoEntry: false });
  return named !== undefined && named.dev === meant?.dev && named.ino === meant.ino;
}
