/**
 * An engine in a process of its own, to be killed. Prints a line when it is where it was told to go and stays there.
 *
 *     engine.ts freeze PID              every thread is stopped
 *     engine.ts hold PID                … and the stop is made to last
 *     engine.ts call PID THREAD         … and the n-th thread is in the middle of an injected call
 *     engine.ts stop PID                it is stopped by signal
 *     engine.ts snapshot PID POINT      a snapshot is being taken, and has come to this point of checkpoint/faults.ts
 *     engine.ts build PID HATCHERY      a process is being built out of it
 *     engine.ts finish PID HATCHERY     … and is complete
 */

import { NO_FAULTS } from '../../../src/checkpoint/faults.ts';
import { freezeThreads, Stragglers } from '../../../src/checkpoint/freeze.ts';
import { openSource } from '../../../src/checkpoint/source.ts';
import { probeKernel } from '../../../src/linux/kernel-facts.ts';
import { parseMaps, readProc } from '../../../src/linux/procfs.ts';
import { SYS } from '../../../src/linux/syscall-numbers.ts';
import { TracedProcess } from '../../../src/linux/tracee.ts';
import { readVdso } from '../../../src/linux/vdso.ts';
import { beginRestore } from '../../../src/restore/begin-restore.ts';

const [, , what, pidText, other] = process.argv;
const pid = Number(pidText);
const facts = probeKernel();

function stay(result: unknown): void {
  process.stdout.write(`${String(result)}\n`);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

function inTheMiddle(index: number): void {
  const traced = new TracedProcess(pid, 0n, true);
  traced.syscallSite = readVdso(parseMaps(readProc(pid, 'maps')), traced.memory).syscallSite;
  const threads = freezeThreads(traced, { deadlineMicros: 1e6, stragglers: new Stragglers(), faults: NO_FAULTS });
  threads[0]!.thread.installAgent();
  const { thread } = threads[index]!;
  const time = Buffer.alloc(16);
  time.writeBigInt64LE(1n, 0);
  const address = thread.put(time);
  process.stdout.write('calling\n');
  thread.call('sleep', SYS.nanosleep, address, 0);
}

function inSnapshot(wanted: string): void {
  const reach = (point: string): void => {
    if (point === wanted) stay(point);
  };
  openSource(pid, { facts, faults: { reach } }).snapshot();
}

if (what === 'call') inTheMiddle(Number(other));
else if (what === 'stop') {
  openSource(pid, { facts }).stop();
  stay('stopped');
} else if (what === 'snapshot') inSnapshot(other!);
else {
  const frozen = openSource(pid, { facts }).freeze();
  if (what === 'freeze') stay('frozen');
  frozen.holdStopped();
  if (what === 'hold') stay('held');
  const bytes = Buffer.alloc(frozen.pages.reduce((sum, { length }) => sum + length, 0));
  frozen.readPages(frozen.pages, bytes);
  const restoring = beginRestore(frozen.image, Number(other), { facts });
  restoring.writePages(frozen.pages, bytes);
  if (what === 'build') stay(restoring.pid);
  restoring.finish();
  stay(restoring.pid);
}
