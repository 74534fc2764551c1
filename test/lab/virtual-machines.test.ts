/**
 * Two real virtual machines, in short: what `npm test` can wait for. All of it is test/vms/ (`npm run test:vms`). Needs root,
 * QEMU and Debian's packages.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { runComicran } from '../../src/lab/demo/program.ts';
import { needs } from '../support/needs.ts';
import { askedDuring, migrateWith, NEEDED, NOTHING, startSquare, whereIs } from '../vms/support.ts';

test('two virtual machines', { skip: needs(...NEEDED) }, async (t) => {
  before(() => runComicran(['lab', 'up', '--vms']));
  after(() => runComicran(['lab', 'down']));

  await t.test(
    'a server is started, replicated there and carried back: nothing is lost, doubled or wrong',
    async () => {
      await startSquare('vm1');
      const figures = await askedDuring('square', async () => {
        for (const [mode, to] of [
          ['replicated', 'vm2'],
          ['precopy', 'vm1'],
        ] as const) {
          const { moved, why } = await migrateWith('square', mode);
          assert.equal(why, '');
          assert.equal(moved?.mode, mode);
          assert.equal(await whereIs('square'), to);
        }
      });
      assert.deepEqual(figures, NOTHING);
    },
  );
});
