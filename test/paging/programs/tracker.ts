/** A tracker in a process of its own, to be killed: `tracker.ts PID`. Says so when it has made a round, and stays. */
import { track } from '../support/tracking.ts';

const tracker = track(Number(process.argv[2]));
const { writtenBytes } = tracker.next();
process.stdout.write(`${writtenBytes}\n`);
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
