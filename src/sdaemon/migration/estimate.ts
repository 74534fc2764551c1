/**
 * How long a migration would take, from what the process has. Pure.
 *
 * The least is what a small virtual machine takes that has nothing else to do; it follows from pages, threads and
 * descriptors. The most is what the same takes where somebody else may run in between, and that depends on how busy the
 * machine is: a single stop of a few milliseconds meets a time slice of another process, or several; the whole meets so many
 * that they even out. Neither is a promise.
 */
import { formatMicros } from '../../base/units.ts';
import type { ModeName } from '../../migration/modes.ts';
import type { SnapshotChoice } from '../../migration/snapshot-way.ts';

/** What a process has that takes time to move. */
export type ProcessSize = {
  readonly memoryBytes: number;
  /** Of these, not in huge pages. */
  readonly smallPageBytes: number;
  readonly threads: number;
  readonly descriptors: number;
  /** Undefined: it is not known how it would be photographed. */
  readonly snapshot: SnapshotChoice | undefined;
};

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
/** Page tables that the kernel copies when it forks a process, and that it passes over to find what was written: bytes a microsecond. */
const FORK_RATE = 40_000;
const SCAN_RATE = 1_000_000;
/** Copying, while it stands still, what it has written shortly before. */
const LAST_PAGES_MICROS = 500;
/** The greeting, and making ready to capture it: reading its areas while it runs. */
const OPENING_MICROS = 30_000;
/** The record, the route. */
const CUTOVER_MICROS = 1_000;
/** `replicated`: until the copy has shown that it keeps up, and until nothing comes to the source any more. */
const SETTLE_MICROS = 10_000;
const QUIET_MICROS = 60_000;
/** Handing over, ending the process. */
const CLOSING_MICROS = 15_000;
/** Writable pages that are left for the last round, where it converges. */
const LAST_ROUND_BYTES = 4 << 20;

/** How far a single stop may exceed its least on a machine with as much to do as it has CPUs, and how far the whole. */
const STOP_SPREAD = 4;
const TOTAL_SPREAD = 3;

/** Stopping the threads and reading what is not memory. */
const captureMicros = ({ threads, descriptors }: ProcessSize): number => 600 + threads * 100 + descriptors * 15;
/** Building the process anew, without its pages. */
const buildMicros = ({ threads, descriptors }: ProcessSize): number => 6_000 + threads * 400 + descriptors * 100;

/** What a snapshot takes of the freeze because of the memory that there is. */
function snapshotMicros({ smallPageBytes, snapshot }: ProcessSize): number {
  return snapshot?.way === 'tracked' ? smallPageBytes / SCAN_RATE + LAST_PAGES_MICROS : smallPageBytes / FORK_RATE;
}

type Least = { readonly freeze?: number; readonly stop: number; readonly total: number };

const LEAST: Readonly<Record<ModeName, (size: ProcessSize) => Least>> = {
  replicated(size) {
    const freeze = captureMicros(size) + snapshotMicros(size);
    const copying = buildMicros(size) + size.memoryBytes / COPY_RATE;
    return { freeze, stop: freeze + CUTOVER_MICROS, total: freeze + copying + SETTLE_MICROS + QUIET_MICROS };
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

/** How `replicated` would photograph the process, and why so, for people. */
export function plannedSnapshot(size: ProcessSize): { readonly way?: string; readonly whyWay?: string } {
  const { snapshot } = size;
  if (snapshot === undefined) return {};
  return { way: snapshot.way, whyWay: `${snapshot.why}; about ${formatMicros(snapshotMicros(size))} of the freeze` };
}
