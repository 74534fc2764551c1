import assert from 'node:assert/strict';
import { test } from 'node:test';
import { offsetsFor } from './clocks.ts';

const S = 1_000_000_000n;
const clocks = (realtime: bigint, monotonic: bigint, boottime: bigint): Parameters<typeof offsetsFor>[0] => ({
  realtimeNanos: realtime,
  monotonicNanos: monotonic,
  boottimeNanos: boottime,
});

test('on the same machine nothing needs to change', () => {
  assert.equal(offsetsFor(clocks(1000n * S, 50n * S, 60n * S), clocks(1001n * S, 51n * S, 61n * S)), null);
  assert.equal(offsetsFor(clocks(1000n * S, 50n * S, 60n * S), clocks(1001n * S, 51n * S + 5_000_000n, 61n * S)), null);
});

test('on a machine that was started later or earlier the clocks go on', () => {
  assert.deepEqual(offsetsFor(clocks(1000n * S, 500n * S, 600n * S), clocks(1001n * S, 7n * S, 7n * S)), {
    monotonicNanos: 494n * S,
    boottimeNanos: 594n * S,
  });
  assert.deepEqual(offsetsFor(clocks(1000n * S, 5n * S, 5n * S), clocks(1000n * S, 70n * S, 80n * S)), {
    monotonicNanos: -65n * S,
    boottimeNanos: -75n * S,
  });
});

test('wall clocks that differ do not count', () => {
  for (const realtime of [0n, 999n * S, 5000n * S])
    assert.deepEqual(offsetsFor(clocks(1000n * S, 5n * S, 5n * S), clocks(realtime, 70n * S, 70n * S)), {
      monotonicNanos: -65n * S,
      boottimeNanos: -65n * S,
    });
});
