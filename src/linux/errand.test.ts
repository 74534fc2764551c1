import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errand, waitBusily } from './errand.ts';
import type { WaitStatus } from './wait.ts';

const TID = 7;
const STOPPED: WaitStatus = { kind: 'stopped', signal: 5, event: 0 };

/** Notes what is done, in order. @param steps how many times it pauses before its value */
function work(done: string[], steps: number, value = 'value'): Errand<string> {
  function* run(): Generator<void, string> {
    try {
      for (let step = 1; step <= steps; step++) {
        done.push(`step ${step}`);
        yield;
      }
      done.push('end');
      return value;
    } finally {
      done.push('cleaned');
    }
  }
  return new Errand(run());
}

/** A thread that has reported when it is looked at for the nth time. */
function reportsAt(look: number, done: string[]): Parameters<typeof waitBusily>[2] {
  let looks = 0;
  return {
    pollThread: (tid) => {
      assert.equal(tid, TID);
      looks++;
      done.push('look');
      return looks >= look ? STOPPED : null;
    },
    waitThread: (tid) => {
      assert.equal(tid, TID);
      done.push('wait');
      return STOPPED;
    },
  };
}

test('finish does what is left and returns the value, as often as it is asked', () => {
  const done: string[] = [];
  const errand = work(done, 2);
  errand.step();
  assert.equal(errand.isOver, false);
  assert.equal(errand.finish(), 'value');
  assert.equal(errand.isOver, true);
  assert.equal(errand.finish(), 'value');
  errand.step();
  assert.deepEqual(done, ['step 1', 'step 2', 'end', 'cleaned']);
});

test('what a step throws ends it, is kept to itself, and comes out of finish', () => {
  function* fails(): Generator<void, never> {
    yield;
    throw new Error('no memory');
  }
  const errand = new Errand(fails());
  errand.step();
  errand.step();
  assert.equal(errand.isOver, true);
  assert.throws(() => errand.finish(), /no memory/);
  assert.throws(() => errand.finish(), /no memory/);
});

test('given up half-way it cleans up and does no more; given up behind its end nothing happens', () => {
  const done: string[] = [];
  {
    using errand = work(done, 3);
    errand.step();
  }
  assert.deepEqual(done, ['step 1', 'cleaned']);
  const all: string[] = [];
  {
    using errand = work(all, 1);
    errand.finish();
  }
  assert.deepEqual(all, ['step 1', 'end', 'cleaned']);
});

test('a thread that has reported is seen before any step, and behind each step', () => {
  const at1: string[] = [];
  assert.equal(waitBusily(TID, work(at1, 3), reportsAt(1, at1)), STOPPED);
  assert.deepEqual(at1, ['look']);
  const at3: string[] = [];
  const errand = work(at3, 3);
  assert.equal(waitBusily(TID, errand, reportsAt(3, at3)), STOPPED);
  assert.deepEqual(at3, ['look', 'step 1', 'look', 'step 2', 'look']);
  assert.equal(errand.isOver, false, 'what is left of it is for finish');
});

test('when the work is done, or there is none, the thread is waited for', () => {
  const done: string[] = [];
  assert.equal(waitBusily(TID, work(done, 1), reportsAt(9, done)), STOPPED);
  assert.deepEqual(done, ['look', 'step 1', 'look', 'end', 'cleaned', 'wait']);
  const idle: string[] = [];
  assert.equal(waitBusily(TID, null, reportsAt(1, idle)), STOPPED);
  assert.deepEqual(idle, ['wait']);
});

test('work that fails does not keep anybody from seeing the thread', () => {
  function* fails(): Generator<void, never> {
    yield;
    throw new Error('no memory');
  }
  const done: string[] = [];
  assert.equal(waitBusily(TID, new Errand(fails()), reportsAt(9, done)), STOPPED);
  assert.deepEqual(done, ['look', 'look', 'wait']);
});
