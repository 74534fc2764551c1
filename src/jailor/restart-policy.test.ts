import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nextStart, STEADY_MS } from './restart-policy.ts';
import type { Exit } from './state.ts';

const WELL: Exit = { reason: 'ended', code: 0, signal: null };
const BADLY: Exit = { reason: 'ended', code: 3, signal: null };
const KILLED: Exit = { reason: 'ended', code: null, signal: 'SIGSEGV' };
const FULL: Exit = { reason: 'out-of-memory', code: null, signal: 'SIGKILL' };
const ILL: Exit = { reason: 'unhealthy', code: 0, signal: null };
const none = { inRow: 0 };

test('the policy says after which ends a process is started again', () => {
  const starts = (policy: 'no' | 'on-failure' | 'always') =>
    [WELL, BADLY, KILLED, FULL, ILL].map((exit) => nextStart({ policy }, none, exit, 5).kind === 'start');
  assert.deepEqual(starts('no'), [false, false, false, false, false]);
  assert.deepEqual(starts('on-failure'), [false, true, true, true, true]);
  assert.deepEqual(starts('always'), [true, true, true, true, true]);
  assert.deepEqual(nextStart(undefined, none, BADLY, 5), { kind: 'end', gaveUp: false });
});

test('delays double up to the longest, and never overflow', () => {
  const spec = { policy: 'always', backoffMs: 100, longestBackoffMs: 1_000 } as const;
  const delays = [0, 1, 2, 3, 4, 5_000].map((inRow) => {
    const next = nextStart(spec, { inRow }, BADLY, 5);
    return next.kind === 'start' ? next.delayMs : undefined;
  });
  assert.deepEqual(delays, [100, 200, 400, 800, 1_000, 1_000]);
});

test('the most is of a row; one that has run for a while begins a new one', () => {
  const spec = { policy: 'always', max: 2, backoffMs: 50 } as const;
  assert.deepEqual(nextStart(spec, { inRow: 1 }, BADLY, 5), { kind: 'start', delayMs: 100, inRow: 2 });
  assert.deepEqual(nextStart(spec, { inRow: 2 }, BADLY, 5), { kind: 'end', gaveUp: true });
  assert.deepEqual(nextStart(spec, { inRow: 2 }, BADLY, STEADY_MS), { kind: 'start', delayMs: 50, inRow: 1 });
});
