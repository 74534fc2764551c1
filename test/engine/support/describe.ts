/** A process as the kernel shows it from outside, for a comparison before and after. */
import { createHash } from 'node:crypto';
import { ProcessMemory } from '../../../src/linux/memory.ts';
import { PageFinder } from '../../../src/linux/pagemap.ts';
import { listThreads, parseSmaps, readProc, readProcLink, readStat, readStatus } from '../../../src/linux/procfs.ts';
import { facts } from './engine.ts';

const STATUS_LINES = [
  ['Name', 'Umask', 'Uid', 'Gid', 'Groups', 'THP_enabled', 'SigPnd', 'ShdPnd', 'SigBlk', 'SigIgn', 'SigCgt'],
  ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp', 'Seccomp_filters', 'Cpus_allowed'],
].flat();
/** Priority, nice, threads, real-time priority and policy; and the fields of the address space. */
const STAT_FIELDS = [18, 19, 20, 26, 27, 28, 40, 41, 45, 46, 47, 48, 49, 50, 51];
const FILES = ['auxv', 'cmdline', 'environ', 'limits', 'personality', 'oom_score_adj', 'timers', 'coredump_filter'];

type Ignored = { readonly address: bigint; readonly size: number };

/** @param ignored memory whose contents do not count. */
export function describeProcess(pid: number, ignored: readonly Ignored[] = []): Record<string, unknown> {
  const stat = readStat(pid);
  return {
    threads: listThreads(pid).map((tid) => describeThread(pid, tid)),
    stat: STAT_FIELDS.map((field) => `${field}: ${stat.text(field)}`),
    links: ['exe', 'cwd', 'root'].map((name) => readProcLink(pid, name)),
    ...Object.fromEntries(FILES.map((name) => [name, withoutOwnPids(pid, readProc(pid, name))])),
    areas: describeAreas(pid, ignored),
  };
}

/** /proc/PID/timers names threads as this program sees them. */
function withoutOwnPids(pid: number, text: string): string {
  return text.replaceAll(/(?<=[pt]id\.)\d+/g, (number) => String(readStatus(pid, Number(number)).innermost('NSpid')));
}

function describeThread(pid: number, tid: number): Record<string, unknown> {
  const status = readStatus(pid, tid);
  return {
    tid: status.innermost('NSpid'),
    session: [status.innermost('NSpgid'), status.innermost('NSsid')],
    timerSlack: readProc(tid, 'timerslack_ns').trim(),
    ...Object.fromEntries(STATUS_LINES.filter((line) => status.has(line)).map((line) => [line, status.text(line)])),
  };
}

/** The areas, their flags, and a digest of the pages that belong to the process alone. */
function describeAreas(pid: number, ignored: readonly Ignored[]): string[] {
  const memory = new ProcessMemory(pid);
  const finder = new PageFinder(pid, facts.pagemapScan);
  try {
    return parseSmaps(readProc(pid, 'smaps')).map((entry) => {
      const { start, end, permissions, offset, name, flags } = entry;
      const range = `${start.toString(16)}-${end.toString(16)} ${permissions} ${offset.toString(16)} ${name}`;
      const known = [...flags].filter((flag) => flag !== 'sd').join(' ');
      if (name === '[vsyscall]' || name.startsWith('[vvar')) return `${range} ${known}`;
      const digest = createHash('sha256');
      for (const span of finder.ownPages(start, end)) {
        const bytes = memory.read(span.start, Number(span.end - span.start));
        for (const { address, size } of ignored)
          if (address >= span.start && address < span.end) blank(bytes, Number(address - span.start), size);
        digest.update(bytes);
      }
      return `${range} ${known} ${digest.digest('hex').slice(0, 16)}`;
    });
  } finally {
    memory.close();
    finder.close();
  }
}

function blank(bytes: Buffer, at: number, size: number): void {
  bytes.fill(0, at, at + size);
}
