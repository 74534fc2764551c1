import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Leftovers } from './leftovers.ts';
import { lead } from './settle.ts';
import { VirtualClock } from './test-kit/virtual-clock.ts';
import { DEFAULT_DEADLINES } from './waiting.ts';

const unused = async (): Promise<never> => assert.fail('nobody takes here');

/** Leads where the sdn fails so often, by an error or by saying nothing. @returns what is left, and how often it was asked. */
async function leadPast(failures: number, silently: boolean): Promise<{ left: string[]; asked: number }> {
  const clock = new VirtualClock();
  const leftovers = new Leftovers(clock, DEFAULT_DEADLINES);
  let asked = 0;
  const ownership = {
    take: unused,
    give: unused,
    async lead() {
      if (++asked > failures) return;
      if (silently) await new Promise(() => {});
      throw new Error('the sdn is not there');
    },
  };
  await clock.run(lead({ ownership, clock, deadlines: DEFAULT_DEADLINES }, leftovers));
  return { left: leftovers.failures.map(({ message }) => message), asked };
}

test('packets are led here, tried again for a while; a failure in the end is noted and is not one of the migration', async () => {
  for (const silently of [false, true]) {
    for (const failures of [0, 1, 4]) {
      assert.deepEqual(await leadPast(failures, silently), { left: [], asked: failures + 1 });
    }
    const { left, asked } = await leadPast(Number.POSITIVE_INFINITY, silently);
    // For half a minute, by pauses of a second and answers that do not come for two.
    assert.ok(asked >= 10 && asked <= 40, `${asked} times`);
    assert.match(left.join(), /^leading the packets here: /);
  }
});
