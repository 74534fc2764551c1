/**
 * The limit of memory of a control group, raised for a while: beside a process that goes on writing, a clone of it keeps every
 * page as it was, and both count. Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cgroup } from './cgroup.ts';

type Files = {
  /** What is used, and what is written to so that some of it is given back; absent: the kernel refuses a limit that is too low. */
  readonly usage?: string;
  readonly reclaim?: string;
  /** To be written in this order where it is raised, the other way round where it is lowered. */
  readonly limits: readonly string[];
};

/** Memory with swap space, of version 1, is at least the memory. */
const V1: Files = { limits: ['memory.memsw.limit_in_bytes', 'memory.limit_in_bytes'] };
const V2: Files = { usage: 'memory.current', reclaim: 'memory.reclaim', limits: ['memory.max'] };

/** Between two looks whether what is used is little enough. */
const LOOK_MS = 50;
const LOOKS = 40;

function filesOf({ paths }: Pick<Cgroup, 'paths'>): Files | undefined {
  for (const path of paths)
    for (const { usage, reclaim, limits } of [V2, V1]) {
      const there = limits.map((name) => join(path, name)).filter((file) => existsSync(file));
      if (there.length === 0) continue;
      return {
        ...(usage === undefined ? {} : { usage: join(path, usage) }),
        ...(reclaim === undefined ? {} : { reclaim: join(path, reclaim) }),
        limits: there,
      };
    }
  return undefined;
}

/** No limit is `max`, or of version 1 a number that no machine has. */
const numberIn = (file: string): number => {
  const text = readFileSync(file, 'latin1').trim();
  return text === 'max' ? Number.POSITIVE_INFINITY : Number(text);
};

/** @returns the limit; undefined: the group has none. */
export function memoryLimit(cgroup: Pick<Cgroup, 'paths'>): number | undefined {
  const file = filesOf(cgroup)?.limits.at(-1);
  const limit = file === undefined ? Number.POSITIVE_INFINITY : numberIn(file);
  return limit < Number.MAX_SAFE_INTEGER ? limit : undefined;
}

/** Raises the limit, where there is one, by so many bytes. */
export function raiseMemoryLimit(cgroup: Pick<Cgroup, 'paths'>, bytes: number): void {
  const limit = memoryLimit(cgroup);
  if (limit === undefined) return;
  for (const file of filesOf(cgroup)?.limits ?? []) writeFileSync(file, String(limit + bytes));
}

/**
 * Puts the limit back, if it has been raised: at once where no more than that is used, and else not at all.
 * @param limit bytes. @param evenIfFull the kernel then ends what uses more, as it would have done before
 * @returns whether it is that now
 */
export function tryLowerMemoryLimit(cgroup: Pick<Cgroup, 'paths'>, limit: number, evenIfFull = false): boolean {
  const files = filesOf(cgroup);
  if (files === undefined || memoryLimit(cgroup) === undefined) return true;
  if (files.limits.every((file) => numberIn(file) <= limit)) return true;
  if (!evenIfFull && !fits(files, limit)) return false;
  try {
    for (const file of files.limits.toReversed()) writeFileSync(file, String(limit));
    return true;
  } catch {
    // EBUSY, of version 1: so much is used.
    return false;
  }
}

/** Version 2 takes a limit that is too low and ends processes for it, after it has given back what it can. */
function fits({ usage, reclaim }: Files, limit: number): boolean {
  if (usage === undefined) return true;
  const tooMuch = numberIn(usage) - limit;
  if (tooMuch <= 0) return true;
  try {
    // Copies of what is in files: since Linux 5.19.
    if (reclaim !== undefined) writeFileSync(reclaim, String(tooMuch), { flag: 'r+' });
  } catch {
    // EAGAIN: there was less of it.
  }
  return numberIn(usage) <= limit;
}

/** As {@link tryLowerMemoryLimit}; what is used may become less in the next moments, and is not looked at behind them. */
export async function lowerMemoryLimit(cgroup: Pick<Cgroup, 'paths'>, limit: number): Promise<boolean> {
  for (let looks = 0; looks < LOOKS; looks++) {
    if (tryLowerMemoryLimit(cgroup, limit)) return true;
    await sleep(LOOK_MS);
  }
  return tryLowerMemoryLimit(cgroup, limit, true);
}
