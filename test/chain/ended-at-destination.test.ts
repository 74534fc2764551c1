/** A process that ends at the destination, by itself or by somebody's hand: it is said at once, how, and what follows. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { runComicran } from '../../src/lab/demo/program.ts';
import { labLayout } from '../../src/lab/layout.ts';
import { assertAnswers } from '../support/daemons.ts';
import { Faults } from '../support/faults.ts';
import { client, find, migrate, start } from '../support/lab.ts';
import { needs } from '../support/needs.ts';
import { startServer } from '../support/server-config.ts';

const skip = needs('root');
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** What an operator sees names the thing, says how it ended and what to do, and not what the kernel answered to whom. */
function assertSaysHow(thrown: Error, what: string): true {
  assert.match(thrown.message, /has ended(?: at vm2)?, by SIGKILL[\s\S]*next: Somebody has killed it at /, what);
  assert.doesNotMatch(thrown.message, /E[A-Z]{4,}|ptrace|longer than|in time/, what);
  return true;
}

/** Datagrams that vm2 has had for sandboxes so far. In the modes with a stop the route leads there from the take-over on. */
function broughtToVm2(): number {
  const { netns } = labLayout().nodes.find(({ name }) => name === 'vm2')!;
  const text = execFileSync('ip', ['netns', 'exec', netns, 'cat', '/proc/net/snmp']).toString();
  const [names = [], values = []] = text
    .split('\n')
    .flatMap((line) => (line.startsWith('Ip:') ? [line.split(' ')] : []));
  return Number(values[names.indexOf('ForwDatagrams')]);
}

const startLarge = (): Promise<void> => {
  const options = ['--memory', '64M', '--touch', '20M/s'];
  return startServer({ id: 'large', options, address: '10.88.0.90', service: 5090 }, 'vm1');
};

test('in a lab', { skip }, async (t) => {
  const faults = new Faults();
  before(async () => {
    await faults.labUp();
    await start('square.yaml', 'vm1');
    await startLarge();
  });
  after(async () => {
    await runComicran(['lab', 'down']);
    faults.close();
  });

  for (const [mode, point] of [
    ['replicated', 'replay.wait:after'],
    ['replicated', 'replay.shut:before'],
    ['replicated', 'replay.shut:after'],
    ['replicated', 'restoring.finish:before'],
    ['stopcopy', 'restoring.writePages:before'],
    ['stopcopy', 'restoring.finish:after'],
    ['postcopy', 'restoring.finish:after'],
  ] as const)
    await t.test(`${mode}, ${point}: it is said how, and the process answers on at the source`, async () => {
      faults.arm(`destination.${point}`, 'end');
      const load = client((await find('square'))?.service ?? '', 500, 3);
      await pause(300);
      // The fallback would end in the same way, with nobody left: there is none.
      const fallback = mode === 'replicated' ? 'precopy' : undefined;
      const [began, brought] = [performance.now(), broughtToVm2()];
      await assert.rejects(migrate('square', 'vm2', mode, fallback), (thrown: Error) => assertSaysHow(thrown, point));
      assert.ok(performance.now() - began < 30_000, 'nobody waited for the deadline');
      const { duplicated, wrong, lost } = await load;
      // What a destination held that had taken, and could then not let its process run, goes with it: docs/migration.md.
      const came = broughtToVm2() - brought;
      const gone = mode !== 'replicated' && point === 'restoring.finish:after' ? came : 0;
      assert.deepEqual({ duplicated, wrong, lost: Math.max(0, lost - gone) }, { duplicated: 0, wrong: 0, lost: 0 });
      if (mode === 'replicated') assert.equal(came, 0, 'the route follows when the copy leads');
      await assertAnswers('vm1');
    });

  await t.test(
    'postcopy: it ends while its memory is still coming: the result says so, and nothing waits',
    async () => {
      let failed: Error | undefined;
      // Nothing keeps its memory from being there first: then it has moved, and has ended there, and begins anew.
      for (let tries = 0; failed === undefined && tries < 5; tries++) {
        if (tries > 0) {
          await runComicran(['smanager', 'terminate', 'large']);
          await startLarge();
        }
        faults.arm('destination.packets.release:after', 'end');
        failed = await migrate('large', 'vm2', 'postcopy').then(
          () => undefined,
          (thrown: Error) => thrown,
        );
      }
      assert.ok(failed);
      assertSaysHow(failed, 'large');
      assert.match(failed.message, /where it was moved to, before all of its memory was there; it runs nowhere/);
      const found = await find('large');
      assert.deepEqual([found?.vm, found?.state], ['vm2', 'stopped']);
    },
  );
});
