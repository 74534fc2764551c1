/** Daemons that may not run on every CPU of their machine, as on one that keeps some for its sandboxes. Needs root. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { runComicran } from '../../src/lab/demo/program.ts';
import { cpusOf, getAffinity, setAffinity, singleCpu } from '../../src/linux/scheduling.ts';
import { migrate, start } from '../support/lab.ts';
import { needs } from '../support/needs.ts';
import { underLoad } from '../support/under-load.ts';

const cpus = getAffinity(0);

for (const cpu of cpusOf(cpus)) {
  test(`in a lab whose daemons have CPU ${cpu} alone`, { skip: needs('root') }, async (t) => {
    before(async () => {
      // What is started from here on has it; the clients of below have all of them again.
      setAffinity(0, singleCpu(cpu));
      await runComicran(['lab', 'up']).finally(() => setAffinity(0, cpus));
      await start('square.yaml', 'vm1');
    });
    after(() => runComicran(['lab', 'down']));

    await t.test('a server is replicated there and back, and nothing is lost', async () => {
      await underLoad('square', 500, async () => {
        for (const to of ['vm2', 'vm1']) {
          assert.equal((await migrate('square', to, 'replicated', 'none')).mode, 'replicated');
        }
      });
    });
  });
}
