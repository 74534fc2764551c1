/** A copy of a process that is kept up to date by what the tracker tells. */
import { test } from 'node:test';
import { needs } from '../support/needs.ts';
import { Copy, Target, track, whileStopped } from './support/tracking.ts';

const skip = needs('root', 'python3');

for (const seed of [1, 2, 3, 4, 5, 6])
  test(`a copy made in rounds is the memory of the process, seed ${seed}`, { skip }, async () => {
    await using target = await Target.scribbler();
    await target.tell(`churn ${seed} 300 1`);
    const copy = new Copy();
    using tracker = track(target.pid);
    for (let round = 0; round < 12; round++) {
      const churning = target.tell(`churn ${seed * 1000 + round} 100 ${1 + (round % 3)}`);
      for (let turn = 0; turn < 3; turn++) {
        copy.follow(tracker);
        // Ready for a stop that does not come.
        if (round % 4 === 1) tracker.prepare();
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      if (round % 3 !== 0) await churning;
      for (let times = 0; times < round % 3; times++) tracker.prepare();
      whileStopped(target.pid, () => {
        const last = tracker.last();
        copy.apply(last, (ranges, into) => last.read(ranges, into));
        copy.assertEqualTo(target.pid);
      });
      await churning;
    }
  });
