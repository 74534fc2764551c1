/** The thread of one CPU of a hiccup meter. */
import { hrtime } from 'node:process';
import { parentPort, workerData } from 'node:worker_threads';
import { defined } from '../base/assert.ts';
import { KernelError } from '../linux/errno.ts';
import { setAffinity, setScheduling, singleCpu } from '../linux/scheduling.ts';
import type { HiccupThreadData, HiccupThreadReport } from './hiccup.ts';

const SCHED_FIFO = 1;

const { cpu, periodUs, thresholdUs, maxStalls, stop } = workerData as HiccupThreadData;
const parent = defined(parentPort, 'the parent of this thread');
const nowUs = (): number => Number(hrtime.bigint()) / 1000;

function becomeRealtime(): boolean {
  try {
    // The lowest of the real-time priorities: above every ordinary program, below everything that really is one.
    setScheduling(0, { policy: SCHED_FIFO, resetOnFork: true, nice: 0, priority: 1 });
    return true;
  } catch (thrown) {
    if (thrown instanceof KernelError) return false; // not root, or no real-time share in this cgroup
    throw thrown;
  }
}

function watch(realtime: boolean): HiccupThreadReport {
  const spansUs: number[] = [];
  const totals = { stallCount: 0, longestUs: 0, stalledUs: 0 };
  while (Atomics.load(stop, 0) === 0) {
    const dueUs = nowUs() + periodUs;
    Atomics.wait(stop, 0, 0, periodUs / 1000);
    const ranUs = nowUs();
    const lateUs = ranUs - dueUs;
    if (lateUs < thresholdUs) continue;
    totals.stallCount++;
    totals.stalledUs += lateUs;
    totals.longestUs = Math.max(totals.longestUs, lateUs);
    if (totals.stallCount <= maxStalls) spansUs.push(dueUs, ranUs);
  }
  return { realtime, spansUs, ...totals };
}

setAffinity(0, singleCpu(cpu));
const realtime = becomeRealtime();
parent.postMessage('watching');
parent.postMessage(watch(realtime));
