/**
 * How long a migration would take, from what the process has. Pure.
 *
 * The least is what a small virtual machine takes that has nothing else to do; it follows from pages, threads and
 * descriptors. The most is what the same takes where somebody else may run in between, and that depends on how busy the
 * machine is: a single stop of a few milliseconds meets a time slice of another process, or several; the whole meets so many
 * that they even out. Neither is a promise.
 */
import { formatBytes, formatMicros } from '../../base/units.ts';
import type { ModeName } from '../../migration/modes.ts';

/** What a process has that takes time to move. */
export type ProcessSize = { readonly memoryBytes: number; readonly threads: number; readonly descriptors: number };

/** Microseconds. */
export type Range = { readonly least: number; readonly most: number };

export type Estimate = {
  /** `replicated` only; the others stop once. */
  readonly freeze?: Range;
  readonly stop: Range;
  /** As the source counts: without the preparation of the destination, and without taking down the source. */
  readonly total: Range;
};

/** Memory that one machine reads, encrypts and sends while the other writes it; bytes a microsecond. */
const COPY_RATE = 400;
/** What the kernel does for each byte of a process that is forked: page tables. */
const FORK_RATE = 100_000;
/** The greeting, and making ready to capture it: reading its areas while it runs. */
const OPENING_MICROS = 30_000;
/** The record, the route. */
const CUTOVER_MICROS = 1_000;
/** Until the copy has shown that it keeps up; handing over, ending the process. */
const SETTLE_MICROS = 10_000;
const CLOSING_MICROS = 15_000;
/** Writable pages that are left for the last round, where it converges. */
const LAST_ROUND_BYTES = 4 << 20;

/** How far a single stop may exceed its least on a machine with as much to do as it has CPUs, and how far the whole. */
const STOP_SPREAD = 4;
const TOTAL_SPREAD = 2;

/** Stopping the threads and reading what is not memory. */
const captureMicros = ({ threads, descriptors }: ProcessSize): number => 600 + threads * 100 + descriptors * 15;
/** Building the process anew, without its pages. */
const buildMicros = ({ threads, descriptors }: ProcessSize): number => 6_000 + threads * 400 + descriptors * 100;

type Least = { readonly freeze?: number; readonly stop: number; readonly total: number };

const LEAST: Readonly<Record<ModeName, (size: ProcessSize) => Least>> = {
  replicated(size) {
    const freeze = captureMicros(size) + size.memoryBytes / FORK_RATE;
    const copying = buildMicros(size) + size.memoryBytes / COPY_RATE;
    return { freeze, stop: freeze + CUTOVER_MICROS, total: freeze + copying + SETTLE_MICROS };
  },
  postcopy(size) {
    const stop = captureMicros(size) + buildMicros(size) + CUTOVER_MICROS;
    return { stop, total: stop + size.memoryBytes / COPY_RATE };
  },
  precopy(size) {
    const lastRound = Math.min(size.memoryBytes, LAST_ROUND_BYTES) / COPY_RATE;
    const stop = captureMicros(size) + buildMicros(size) + lastRound + CUTOVER_MICROS;
    return { stop, total: stop + size.memoryBytes / COPY_RATE };
  },
  stopcopy(size) {
    const stop = captureMicros(size) + buildMicros(size) + size.memoryBytes / COPY_RATE + CUTOVER_MICROS;
    return { stop, total: stop };
  },
};

/** @param loadPerCpu processes that want to run, for each CPU: above 1 somebody waits */
export function estimate(mode: ModeName, size: ProcessSize, loadPerCpu: number): Estimate {
  const { freeze, stop, total } = LEAST[mode](size);
  const busy = Math.max(1, loadPerCpu);
  const range = (least: number, spread: number): Range => ({ least, most: least * spread * busy });
  return {
    ...(freeze === undefined ? {} : { freeze: range(freeze, STOP_SPREAD) }),
    stop: range(stop, STOP_SPREAD),
    total: range(OPENING_MICROS + total + CLOSING_MICROS, TOTAL_SPREAD),
  };
}

/** How `replicated` photographs a process of this size, and why so; as the source does it. */
export function snapshotWay({ memoryBytes }: ProcessSize): { readonly way: string; readonly whyWay: string } {
  const micros = formatMicros(memoryBytes / FORK_RATE);
  return {
    way: 'fork',
    whyWay: `a clone keeps ${formatBytes(memoryBytes)} as they are while they are sent; to clone them is ${micros} of the freeze`,
  };
}
