/** Replicated migrations of real servers: nobody outside can tell that there were two, or nothing happens at all. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Load } from '../../src/lab/demo/load.ts';
import { runComicran } from '../../src/lab/demo/program.ts';
import { EXAMPLES, find, migrate, start } from '../support/lab.ts';
import { needs } from '../support/needs.ts';
import { underLoad } from '../support/under-load.ts';

const skip = needs('root');

async function serviceOf(name: string): Promise<string> {
  const service = (await find(name))?.service;
  assert.ok(service, `'${name}' has no service`);
  return service;
}

/** Starts the example with other arguments of the server. */
async function startWith(id: string, address: string, port: number, words: readonly string[]): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-test-'));
  try {
    const base = readFileSync(join(EXAMPLES, 'square.yaml'), 'utf8')
      .replaceAll('../', `${join(EXAMPLES, '..')}/`)
      .replace('id: square', `id: ${id}`)
      .replace('10.88.0.5', address)
      .replace('publish: 5006, service: 5006', `service: ${port}`)
      .replace('    - --count\n', ['--count', ...words].map((word) => `    - ${JSON.stringify(word)}\n`).join(''));
    const file = join(directory, 'base.yaml');
    writeFileSync(file, base);
    await start(file, 'vm1');
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('in a lab', { skip }, async (t) => {
  before(() => runComicran(['lab', 'up']));
  after(() => runComicran(['lab', 'down']));

  await t.test('moves under 2,000 requests a second: every one answered once, counted once', async () => {
    await start('square.yaml', 'vm1');
    await underLoad('square', 2000, async () => {
      for (const to of ['vm2', 'vm1', 'vm2', 'vm1']) {
        const moved = await migrate('square', to, 'replicated', 'none');
        assert.equal(moved.mode, 'replicated');
        assert.ok((moved.inputsReplayed ?? 0) > 0 && (moved.outputsCompared ?? 0) > 0);
        assert.ok((moved.freezeUs ?? 0) > 0 && (moved.cutoverUs ?? 0) > 0);
        assert.equal(moved.datagramsDropped, 0);
      }
    });
  });

  await t.test('without a single request it moves as well', async () => {
    const moved = await migrate('square', 'vm2', 'replicated', 'none');
    assert.equal(moved.inputsReplayed, 0);
    assert.equal((await find('square'))?.vm, 'vm2');
    await migrate('square', 'vm1', 'replicated', 'none');
  });

  for (const answer of ['clock', 'random'] as const)
    await t.test(`answers that depend on ${answer}: noticed, told, and nobody is harmed`, async () => {
      const name = `by-${answer}`;
      await startWith(name, answer === 'clock' ? '10.88.0.21' : '10.88.0.22', 5021, ['--answer', answer]);
      const load = new Load({ service: await serviceOf(name), rate: 1000, seconds: 240 });
      try {
        await load.begun;
        await assert.rejects(migrate(name, 'vm2', 'replicated', 'none'), /differs in output \d+ of 10\.88\.0\.2/);
        assert.equal((await find(name))?.vm, 'vm1');
        const moved = await migrate(name, 'vm2', 'replicated', 'stopcopy');
        assert.equal(moved.mode, 'stopcopy');
        assert.equal(moved.requestedMode, 'replicated');
        assert.match(moved.reason ?? '', /differs in output/);
      } catch (thrown) {
        await load.end().catch(() => undefined);
        throw thrown;
      }
      const { lost, duplicated } = await load.end();
      assert.deepEqual({ lost, duplicated }, { lost: 0, duplicated: 0 });
      await runComicran(['smanager', 'terminate', name]);
    });

  await t.test('a process that cannot be replicated is named before anything starts', async () => {
    await start('dnsmasq.yaml', 'vm1');
    await assert.rejects(migrate('dnsmasq', 'vm2', 'replicated', 'none'), /cannot be replicated: it listens for TCP/);
    await runComicran(['smanager', 'terminate', 'dnsmasq']);
  });
});
