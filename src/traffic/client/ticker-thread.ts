/** The thread of a Ticker: sleeps until a tick is due, then wakes whoever waits. Missed ticks become one. */
import { once } from 'node:events';
import { hrtime } from 'node:process';
import { parentPort } from 'node:worker_threads';
import { defined } from '../../base/assert.ts';
import { TICK_WORDS, type TickerData } from './ticker.ts';

const parent = defined(parentPort, 'the parent of this thread');
const given = once(parent, 'message') as Promise<[TickerData]>;
parent.postMessage('ready');
const [{ words, startNs, periodNs }] = await given;
const stopped = (): boolean => Atomics.load(words, TICK_WORDS.stop) === 1;

for (let tick = 0; !stopped(); ) {
  const leftMs = (tick * periodNs - Number(hrtime.bigint() - startNs)) / 1e6;
  if (leftMs > 0) {
    Atomics.wait(words, TICK_WORDS.stop, 0, leftMs);
    continue;
  }
  Atomics.add(words, TICK_WORDS.ticks, 1);
  Atomics.notify(words, TICK_WORDS.ticks);
  tick = Math.max(tick + 1, Math.ceil(Number(hrtime.bigint() - startNs) / periodNs));
}
