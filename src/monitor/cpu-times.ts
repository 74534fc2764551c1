/** Where the machine's CPU time went: /proc/stat, proc_stat(5). */
import { readFileSync } from 'node:fs';

/** Of all CPUs together since boot, in clock ticks. */
export type CpuTimes = {
  readonly total: number;
  readonly idle: number;
  /** Taken by other virtual machines while this one wanted to run. */
  readonly stolen: number;
};

/** @param text of /proc/stat. Guest time is part of user time there, so it is left out of the total. */
export function parseCpuTimes(text: string): CpuTimes {
  const fields = /^cpu +([0-9 ]+)$/m.exec(text)?.[1]?.split(' ').map(Number) ?? [];
  const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, softirq = 0, stolen = 0] = fields;
  return { total: user + nice + system + idle + wait + irq + softirq + stolen, idle: idle + wait, stolen };
}

export function readCpuTimes(): CpuTimes {
  return parseCpuTimes(readFileSync('/proc/stat', 'latin1'));
}

/** Share of all CPU time between two readings that was stolen, in percent. */
export function stolenPercent(before: CpuTimes, after: CpuTimes): number {
  const total = after.total - before.total;
  return total <= 0 ? 0 : Math.round(((after.stolen - before.stolen) / total) * 10_000) / 100;
}
