/** When a copy counts as level, by what its source sees of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CopyAge, Settled } from './level.ts';

type Copy = {
  /** Between two requests. */
  readonly everyMicros: number;
  readonly answers: number;
  /** From when a request and its answers are sent to when the report of them comes. */
  readonly lateMicros: number;
  /** Of the looks at it. */
  readonly lookMicros?: number;
};

/** @returns after how long it counts as level, in microseconds; undefined: not in a minute */
function settles({ everyMicros, answers, lateMicros, lookMicros = 300 }: Copy): number | undefined {
  const age = new CopyAge(0);
  const settled = new Settled(age);
  const countAt = (micros: number) => {
    const requests = Math.max(0, Math.floor(micros / everyMicros) + 1);
    return { inputs: requests, outputs: requests * answers };
  };
  for (let now = lateMicros; now < 60e6; now += lookMicros) {
    const sent = countAt(now);
    const done = countAt(now - lateMicros);
    const behind = { inputs: sent.inputs - done.inputs, outputs: sent.outputs - done.outputs };
    age.look(now, sent, behind);
    if (settled.look(now, behind.inputs + behind.outputs, done.inputs)) return now;
  }
  return undefined;
}

const level = (copy: Copy): number => settles(copy) ?? Number.POSITIVE_INFINITY;

test('a copy that follows a request at a time is level at once', () => {
  assert.ok(level({ everyMicros: 500, answers: 1, lateMicros: 400 }) < 50_000);
  assert.ok(level({ everyMicros: 1e9, answers: 1, lateMicros: 400 }) < 50_000);
});

test('one whose server answers many datagrams to each request is level by its lateness, however many', () => {
  for (const answers of [5, 20, 500]) {
    assert.ok(level({ everyMicros: 3_000, answers, lateMicros: 2_500 }) < 1e6, `${answers} answers`);
    assert.ok(level({ everyMicros: 200, answers, lateMicros: 1_500 }) < 1e6, `${answers} answers, at 5,000 a second`);
  }
});

test('the longer it has been waited for, the later it may be; but not by more than a short stop', () => {
  const copy = { everyMicros: 200, answers: 20 };
  assert.ok(level({ ...copy, lateMicros: 2_000 }) < level({ ...copy, lateMicros: 10_000 }));
  assert.ok(level({ ...copy, lateMicros: 10_000 }) < 10e6);
  assert.equal(settles({ ...copy, lateMicros: 50_000 }), undefined);
});

test('one that falls further and further behind is not level', () => {
  const age = new CopyAge(0);
  const settled = new Settled(age);
  for (let now = 300; now < 20e6; now += 300) {
    const sent = Math.floor(now / 100);
    const done = Math.floor(sent / 2);
    age.look(now, { inputs: sent, outputs: sent }, { inputs: sent - done, outputs: sent - done });
    assert.ok(!settled.look(now, 2 * (sent - done), done), `${now} µs`);
  }
});

test('what is behind in answers alone makes it late, though it has had every request', () => {
  const age = new CopyAge(0);
  for (let now = 500; now <= 40_000; now += 500)
    age.look(now, { inputs: now, outputs: now }, { inputs: 0, outputs: now });
  assert.equal(age.micros, 40_000);
  age.look(40_500, { inputs: 40_500, outputs: 40_500 }, { inputs: 0, outputs: 500 });
  assert.ok(age.micros < 20_000);
  age.look(41_000, { inputs: 41_000, outputs: 41_000 }, { inputs: 0, outputs: 0 });
  assert.equal(age.micros, 0);
});
