/**
 * Notes when this machine did not run: a thread on each CPU that this program may use, of real-time priority, sleeps for a
 * millisecond at a time and looks how late it was woken. Nothing of this machine's own can keep such a thread waiting for
 * long, so a thread that was late shows a stall of the platform (the hypervisor ran somebody else), and what was measured
 * meanwhile says little about the program that was measured. Costs about 1 % of each CPU.
 */
import { once } from 'node:events';
import { extname } from 'node:path';
import { performance } from 'node:perf_hooks';
import { hrtime } from 'node:process';
import { Worker } from 'node:worker_threads';
import { cpusOf, getAffinity } from '../linux/scheduling.ts';
import { readCpuTimes, stolenPercent } from './cpu-times.ts';

export type Stall = {
  readonly cpu: number;
  /** When the thread was to run, and when it ran. */
  readonly fromUnixUs: number;
  readonly toUnixUs: number;
};

export type HiccupReport = {
  readonly durationMs: number;
  /** CPUs that were watched. */
  readonly cpus: number;
  /** False: the kernel gave no real-time priority, and some stalls are only this machine's own load. */
  readonly realtime: boolean;
  readonly thresholdUs: number;
  /** The first {@link MAX_STALLS} stalls of every CPU, in the order of their beginnings. */
  readonly stalls: readonly Stall[];
  readonly stallCount: number;
  readonly longestUs: number;
  /** Sum over all CPUs. */
  readonly stalledMs: number;
  /** By /proc/stat, of all CPU time. */
  readonly stolenPercent: number;
};

export type HiccupMeter = { stop(): Promise<HiccupReport> };

export type HiccupThreadData = {
  readonly cpu: number;
  readonly periodUs: number;
  readonly thresholdUs: number;
  readonly maxStalls: number;
  /** Word 0: 1 tells the thread to report and to end. */
  readonly stop: Int32Array<SharedArrayBuffer>;
};

/** What a thread reports: times by process.hrtime, in microseconds, [from, to, from, to, …]. */
export type HiccupThreadReport = {
  readonly realtime: boolean;
  readonly spansUs: readonly number[];
  readonly stallCount: number;
  readonly longestUs: number;
  readonly stalledUs: number;
};

const MAX_STALLS = 10_000;
const PERIOD_US = 1000;
const DEFAULT_THRESHOLD_US = 1000;

/** @param thresholdUs being this late counts as a stall. */
export async function startHiccupMeter(thresholdUs = DEFAULT_THRESHOLD_US): Promise<HiccupMeter> {
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const file = new URL(`./hiccup-thread${extname(import.meta.filename)}`, import.meta.url);
  const cpus = cpusOf(getAffinity(0));
  const workers = cpus.map((cpu) => {
    const workerData: HiccupThreadData = { cpu, periodUs: PERIOD_US, thresholdUs, maxStalls: MAX_STALLS, stop };
    return new Worker(file, { workerData });
  });
  // Each says once that it has begun.
  await Promise.all(workers.map((worker) => once(worker, 'message')));
  const beganMs = performance.now();
  const before = readCpuTimes();
  return {
    async stop() {
      const reports = workers.map((worker) => once(worker, 'message') as Promise<[HiccupThreadReport]>);
      Atomics.store(stop, 0, 1);
      Atomics.notify(stop, 0);
      const perCpu = (await Promise.all(reports)).map(([report]) => report);
      await Promise.all(workers.map((worker) => worker.terminate()));
      const stolen = stolenPercent(before, readCpuTimes());
      return combine(cpus, perCpu, { thresholdUs, durationMs: performance.now() - beganMs, stolenPercent: stolen });
    },
  };
}

function combine(
  cpus: readonly number[],
  perCpu: readonly HiccupThreadReport[],
  facts: Pick<HiccupReport, 'thresholdUs' | 'durationMs' | 'stolenPercent'>,
): HiccupReport {
  // One clock for all threads and programs: Unix time as this process has it.
  const offsetUs = (performance.timeOrigin + performance.now()) * 1000 - Number(hrtime.bigint()) / 1000;
  const stalls = perCpu.flatMap(({ spansUs }, thread) =>
    Array.from({ length: spansUs.length / 2 }, (_, index) => ({
      cpu: cpus[thread]!,
      fromUnixUs: Math.round(spansUs[2 * index]! + offsetUs),
      toUnixUs: Math.round(spansUs[2 * index + 1]! + offsetUs),
    })),
  );
  const sum = (pick: (report: HiccupThreadReport) => number): number => perCpu.reduce((all, one) => all + pick(one), 0);
  return {
    ...facts,
    durationMs: Math.round(facts.durationMs),
    cpus: perCpu.length,
    realtime: perCpu.every(({ realtime }) => realtime),
    stalls: stalls.toSorted((a, b) => a.fromUnixUs - b.fromUnixUs),
    stallCount: sum(({ stallCount }) => stallCount),
    longestUs: Math.round(Math.max(0, ...perCpu.map(({ longestUs }) => longestUs))),
    stalledMs: Math.round(sum(({ stalledUs }) => stalledUs) / 100) / 10,
  };
}

/** The times in which some CPU was stalled, as spans that do not overlap, in order. */
export function mergeStalls(stalls: readonly Stall[]): { fromUnixUs: number; toUnixUs: number }[] {
  const merged: { fromUnixUs: number; toUnixUs: number }[] = [];
  for (const { fromUnixUs, toUnixUs } of stalls.toSorted((a, b) => a.fromUnixUs - b.fromUnixUs)) {
    const last = merged.at(-1);
    if (last !== undefined && fromUnixUs <= last.toUnixUs) last.toUnixUs = Math.max(last.toUnixUs, toUnixUs);
    else merged.push({ fromUnixUs, toUnixUs });
  }
  return merged;
}
