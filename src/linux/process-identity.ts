/** A process, told from a later one that has got the same PID. */
import { readdirSync, readFileSync } from 'node:fs';

export type ProcessIdentity = {
  readonly pid: number;
  /** When it started, in clock ticks since boot (field 22 of /proc/PID/stat). */
  readonly startTicks: number;
};

/** Fields of /proc/PID/stat from the third on: the name in field 2 may hold spaces and brackets. */
function statFields(pid: number | string): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

/** @returns undefined when there is no such process. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  const fields = statFields(pid);
  return fields === undefined ? undefined : { pid, startTicks: Number(fields[22 - 3]) };
}

/** True while the process runs or is stopped; false for a zombie, which only waits to be reaped. */
export function isAlive(process: ProcessIdentity): boolean {
  const fields = statFields(process.pid);
  if (fields === undefined || fields[0] === 'Z' || fields[0] === 'X') return false;
  return Number(fields[22 - 3]) === process.startTicks;
}

/**
 * Whether any thread of the process may still do something: with a first thread that has ended, others may be in the
 * middle of a system call. False when they have all ended, or the process has been reaped.
 */
export function hasThreads(process: ProcessIdentity): boolean {
  if (isAlive(process)) return true;
  const fields = statFields(process.pid);
  if (fields === undefined || Number(fields[22 - 3]) !== process.startTicks) return false;
  try {
    return readdirSync(`/proc/${process.pid}/task`).some((tid) => {
      const state = tid === `${process.pid}` ? 'Z' : (statFields(`${process.pid}/task/${tid}`)?.[0] ?? 'X');
      return state !== 'Z' && state !== 'X';
    });
  } catch {
    return false;
  }
}

/** A process's PIDs, from the reader's PID namespace down to its own. Empty when there is no such process. */
export function namespacePids(pid: number): number[] {
  try {
    const line = /^NSpid:\t(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
    return line === null ? [] : line[1]!.split('\t').map(Number);
  } catch {
    return [];
  }
}

/** PID of the parent, or undefined when there is no such process. */
export function parentPid(pid: number): number | undefined {
  const fields = statFields(pid);
  return fields === undefined ? undefined : Number(fields[4 - 3]);
}
