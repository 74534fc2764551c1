import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Migration } from './journal.ts';
import { Leftovers } from './leftovers.ts';
import { decideSource, type Knowledge } from './ownership.ts';
import { giveBack, lead, settle } from './settle.ts';
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

const MIGRATION: Migration = {
  ...{ id: 'm1', sandbox: 'square', mode: 'stopcopy', source: 'vm1', destination: 'vm2', epoch: 7n },
};

test('the record is asked until it answers, with growing pauses, and nothing is decided before', async () => {
  for (const silently of [false, true]) {
    const clock = new VirtualClock();
    const known: Knowledge[] = [];
    const told: string[] = [];
    let asked = 0;
    const ownership = {
      give: unused,
      lead: unused,
      async take(epoch: bigint) {
        assert.equal(epoch, 7n);
        if (++asked > 12) return { owner: 'vm2', epoch: 8n };
        if (silently) await new Promise(() => {});
        throw new Error('the sdn is not there');
      },
    };
    const decide = (now: Knowledge) => {
      known.push(now);
      return decideSource('offered', MIGRATION, now);
    };
    const world = { ownership, clock, deadlines: DEFAULT_DEADLINES };
    const { action, record } = await clock.run(settle(world, 7n, decide, (reason) => told.push(reason)));
    assert.equal(action, 'kill');
    assert.deepEqual(record, { owner: 'vm2', epoch: 8n });
    assert.equal(told.length, 12, 'each silence is told');
    assert.deepEqual(known.slice(0, -1), ['not-asked', ...Array<Knowledge>(12).fill('no-answer')]);
    const leastMs = DEFAULT_DEADLINES.retryMs * 5;
    assert.ok(clock.nowMicros() >= leastMs * 1000, `an sdn that is away is asked 12 times in ${clock.nowMicros()} µs`);
  }
});

test('where the stage decides, nobody is asked', async () => {
  const clock = new VirtualClock();
  const ownership = { take: unused, give: unused, lead: unused };
  const world = { ownership, clock, deadlines: DEFAULT_DEADLINES };
  const decide = (known: Knowledge) => decideSource('sending', MIGRATION, known);
  const settled = await clock.run(settle(world, 7n, decide, () => assert.fail('there is nobody to be silent')));
  assert.deepEqual(settled, { action: 'resume', record: undefined });
});

test('a record is given back until the sdn has answered, however long that takes', async () => {
  const clock = new VirtualClock();
  let asked = 0;
  const told: string[] = [];
  const ownership = {
    take: unused,
    lead: unused,
    async give(epoch: bigint) {
      assert.equal(epoch, 8n);
      if (++asked <= 100) throw new Error('the sdn is not there');
      return { owner: 'vm1', epoch: 9n };
    },
  };
  const world = { ownership, clock, deadlines: DEFAULT_DEADLINES };
  await clock.run(giveBack(world, 8n, (reason) => told.push(reason)));
  assert.equal(asked, 101);
  assert.equal(told.length, 100);
});
