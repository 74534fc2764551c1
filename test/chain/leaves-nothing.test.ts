/** Migrations leave nothing behind on the machine: it is counted, so that nothing may be made or ended beside this meanwhile. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { soak } from '../soak/soak.ts';
import { needs } from '../support/needs.ts';

test('10 migrations in a row leave nothing behind and lose nothing', { skip: needs('root') }, async () => {
  const outcome = await soak({ count: 10, rate: 1000, say: () => undefined });
  assert.deepEqual(outcome.problems, []);
  assert.equal(outcome.migrations, 10);
});
