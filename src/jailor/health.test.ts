import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HealthWatch, nextHealth, STARTING } from './health.ts';
import type { Health } from './state.ts';

test('it is unhealthy when so many looks in a row have failed, and healthy with the first that has not', () => {
  const one = nextHealth(STARTING, 'no answer', 3);
  assert.deepEqual(one, { status: 'starting', failures: 1, problem: 'no answer' });
  const healthy = nextHealth(one, undefined, 3);
  assert.deepEqual(healthy, { status: 'healthy', failures: 0, problem: null });
  const statuses: string[] = [];
  let health: Health = healthy;
  for (const problem of ['a', 'b', undefined, 'c', 'd', 'e', 'f', undefined]) {
    health = nextHealth(health, problem, 3);
    statuses.push(`${health.status} ${health.failures}`);
  }
  assert.deepEqual(statuses, [
    ...['healthy 1', 'healthy 2', 'healthy 0', 'healthy 1', 'healthy 2'],
    ...['unhealthy 3', 'unhealthy 4', 'healthy 0'],
  ]);
});

test('a look that is under way when it is paused is given up, and counts for nothing', async () => {
  const told: Health[] = [];
  const { promise: looking, resolve: begun } = Promise.withResolvers<void>();
  const look = (signal: AbortSignal): Promise<string> =>
    new Promise((resolve) => {
      signal.addEventListener('abort', () => resolve('given up'));
      begun();
    });
  const spec = { command: ['true'], intervalMs: 1, timeoutMs: 60_000, retries: 1 };
  const watch = new HealthWatch(spec, look, (health) => told.push(health));
  // Its own timer does not keep the program running.
  const alive = setInterval(() => undefined, 1_000);
  watch.begin();
  await looking;
  await watch.pause();
  clearInterval(alive);
  assert.deepEqual(told, [STARTING]);
});
