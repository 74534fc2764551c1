/** Time namespaces, time_namespaces(7): clocks of their own for a group of processes, by an offset each. */
import { writeFileSync } from 'node:fs';
import { readProc } from './procfs.ts';

export type ClockOffsets = {
  /** What a process's clock is ahead of the machine's, in nanoseconds; may be negative. */
  readonly monotonicNanos: bigint;
  readonly boottimeNanos: bigint;
};

const LINE = /^(monotonic|boottime)\s+(-?\d+)\s+(\d+)$/gm;
const NANOS = 1_000_000_000n;

/** Of the namespace that the children of a process are born into; zero where the kernel has no time namespaces. */
export function readClockOffsets(pid: number): ClockOffsets {
  const found = new Map<string, bigint>();
  let text = '';
  try {
    text = readProc(pid, 'timens_offsets');
  } catch {
    // No such file: no time namespaces.
  }
  for (const [, name, seconds, nanos] of text.matchAll(LINE))
    found.set(name!, BigInt(seconds!) * NANOS + BigInt(nanos!));
  return { monotonicNanos: found.get('monotonic') ?? 0n, boottimeNanos: found.get('boottime') ?? 0n };
}

/** Only as long as nobody has been born into the namespace. Needs CAP_SYS_TIME. */
export function writeClockOffsets(pid: number, { monotonicNanos, boottimeNanos }: ClockOffsets): void {
  const line = (name: string, nanos: bigint): string => {
    // The kernel wants the rest of a second to be positive.
    const rest = ((nanos % NANOS) + NANOS) % NANOS;
    return `${name} ${(nanos - rest) / NANOS} ${rest}\n`;
  };
  writeFileSync(`/proc/${pid}/timens_offsets`, line('monotonic', monotonicNanos) + line('boottime', boottimeNanos));
}
