/** The engine in a worker: moves a process, and answers with its new PID. */
import { parentPort, workerData } from 'node:worker_threads';
import { openSource } from '../../../src/checkpoint/source.ts';
import { probeKernel } from '../../../src/linux/kernel-facts.ts';
import { beginRestore } from '../../../src/restore/begin-restore.ts';

const { pid, hatchery } = workerData as { pid: number; hatchery: number };
const facts = probeKernel();
using source = openSource(pid, { facts });
const frozen = source.freeze();
const bytes = Buffer.alloc(frozen.pages.reduce((sum, { length }) => sum + length, 0));
frozen.readPages(frozen.pages, bytes);
const restoring = beginRestore(frozen.image, hatchery, { facts });
restoring.writePages(frozen.pages, bytes);
restoring.finish();
frozen.kill();
restoring.run();
parentPort!.postMessage(restoring.pid);
