/** The worker thread of record-client.ts: takes the ownership as a migration's worker does. */
import { parentPort } from 'node:worker_threads';
import { openWake } from '../../src/linux/wake.ts';
import { Readiness } from '../../src/sdaemon/readiness.ts';
import { openFastRecord, type RecordAddress } from '../../src/sdaemon/record/fast-record.ts';

export type ToTaker =
  | {
      readonly type: 'take';
      readonly record: RecordAddress;
      readonly byChannel: boolean;
      readonly expectedEpoch: bigint;
    }
  | { readonly type: 'answer' };
export type FromTaker =
  | { readonly type: 'ready'; readonly wake: number }
  | { readonly type: 'ask' }
  | { readonly type: 'taken'; readonly ms: number; readonly rehearseMs: number };

const REHEARSALS = 60;
const port = parentPort!;
const wake = openWake();
const readiness = new Readiness(() => performance.now(), wake);
const post = (message: FromTaker): void => port.postMessage(message);
let answered: (() => void) | undefined;

async function take({ record, byChannel, expectedEpoch }: Extract<ToTaker, { type: 'take' }>): Promise<void> {
  using fast = await openFastRecord(record, readiness, 2000);
  let rehearseMs = 0;
  for (let i = 0; i < REHEARSALS; i++) rehearseMs = await fast.ping();
  const begunMs = performance.now();
  if (byChannel) await fast.take(expectedEpoch);
  else {
    post({ type: 'ask' });
    await new Promise<void>((resolve) => {
      answered = resolve;
    });
  }
  post({ type: 'taken', ms: performance.now() - begunMs, rehearseMs });
}

port.on('message', (message: ToTaker) => {
  if (message.type === 'take') void take(message);
  else answered?.();
});
// As in a migration, a wait is under way all the time: that is what the wake ends.
const idle = (): void => void readiness.wait(-1, 0, 60_000).then(idle);
idle();
post({ type: 'ready', wake });
