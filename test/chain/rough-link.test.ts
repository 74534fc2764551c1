/**
 * Migrations over a link that loses, doubles and swaps packets: for the migration's own connections that is a matter of
 * time, for the requests it is what the link has done to them and nothing more.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Load } from '../../src/lab/demo/load.ts';
import { runComicran } from '../../src/lab/demo/program.ts';
import { find, start } from '../support/lab.ts';
import { Manager } from '../support/manager.ts';
import { needs } from '../support/needs.ts';
import { askCount } from '../support/probe.ts';
import { RoughLink } from '../support/rough-link.ts';

const skip = needs('root', 'ip');
const MODES = ['replicated', 'postcopy', 'precopy', 'stopcopy'] as const;
const REQUESTS = { loss: 0.02, duplication: 0.03, reordering: 0.03 };
const CONNECTIONS = { loss: 0.02, duplication: 0.02, reordering: 0.02 };

test('in a lab', { skip }, async (t) => {
  let link!: RoughLink;
  let manager!: Manager;
  let service!: string;
  before(async () => {
    await runComicran(['lab', 'up']);
    link = await RoughLink.to('vm1', 1);
    manager = new Manager();
    await start('square.yaml', 'vm1');
    service = (await find('square'))?.service ?? '';
  });
  after(async () => {
    await manager.close();
    await runComicran(['lab', 'down']);
    await link.close();
  });

  for (const mode of MODES)
    await t.test(`${mode}: what the link has done to the requests, and nothing more`, async () => {
      link.heal();
      const before = {
        count: await askCount(service),
        in: link.counts('in', 'requests'),
        out: link.counts('out', 'requests'),
      };
      const load = new Load({ service, rate: 500, seconds: 120 });
      await new Promise((resolve) => setTimeout(resolve, 1000));
      link.set(['requests'], REQUESTS);
      link.set(['control', 'migration'], CONNECTIONS);
      const began = performance.now();
      for (const to of ['vm2', 'vm1']) {
        const moved = await manager.migrate('square', to, { mode });
        assert.equal(moved.to, to);
        console.log(
          mode,
          to,
          moved.mode,
          moved.reason,
          Math.round(performance.now() - began),
          moved.totalMs,
          moved.cutoverUs,
        );
      }
      const report = await load.end();
      link.heal();
      const { sent, answered, duplicated, wrong, lost } = report;
      const now = {
        count: await askCount(service),
        in: link.counts('in', 'requests'),
        out: link.counts('out', 'requests'),
      };
      const processed = now.count - before.count - 1;
      const of = (what: 'lost' | 'duplicated', way: 'in' | 'out') => now[way][what] - before[way][what];
      const expected = sent - of('lost', 'in') + of('duplicated', 'in');
      console.log(
        {
          sent,
          answered,
          duplicated,
          wrong,
          lost,
          processed,
          expected,
          answers: answered + duplicated,
          expAnswers: processed - of('lost', 'out') + of('duplicated', 'out'),
        },
        report.counter,
        link.sum('migration'),
        link.sum('control'),
      );
      assert.equal(wrong, 0);
      assert.equal(processed, expected, 'requests that the server has processed');
      assert.equal(
        answered + duplicated,
        processed - of('lost', 'out') + of('duplicated', 'out'),
        'answers that have come',
      );
    });
});
