/** Needs root. A process whose memory comes when it runs already: every byte is right, whatever it does meanwhile. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { NODE, PYTHON, program } from '../engine/support/cage.ts';
import { needs } from '../support/needs.ts';
import { Moved, PagingLab } from './support/lazy-move.ts';

const skip = needs('root', 'unshare', 'nsenter', 'python3', 'ip');
const PORT = 7150;
const BLOCKS = 64;
const PAGES = [PYTHON, join(import.meta.dirname, 'programs/pages.py'), String(PORT), String(BLOCKS)];
const LONG_MS = 60_000;

const movedPages = (): Promise<Moved> => Moved.make(PAGES, (cage) => cage.askUntilAnswered(PORT, 'pid'));

test('64 MB that nobody touches come in the background', { skip }, async () => {
  await using lab = await PagingLab.make();
  await using moved = await movedPages();
  const { copy } = moved;
  const missing = copy.missing.reduce((sum, { count }) => sum + count, 0);
  assert.ok(missing > BLOCKS * 256, `${missing} pages missing`);
  assert.ok(copy.eagerBytes < 8 << 20, `${copy.eagerBytes} bytes written before`);
  const { server, done: served } = await lab.serve(moved.pid);
  const { done } = lab.page(copy, server);
  copy.restoring.run();
  const counts = await done;
  await served;
  assert.equal(counts.filledPages + counts.faultedPages, missing);
  assert.equal(moved.to.ask(PORT, 'check', LONG_MS), '0');
  assert.deepEqual(readdirSync(lab.directory), [], 'the journal is gone');
  assert.deepEqual(lab.troubles, []);
});

test('a Node server is right while its memory comes', { skip }, async () => {
  await using lab = await PagingLab.make();
  await using moved = await Moved.make([NODE, program('app.cjs'), String(PORT)], (cage) =>
    cage.askUntilAnswered(PORT, '2'),
  );
  const { server } = await lab.serve(moved.pid);
  const { done } = lab.page(moved.copy, server);
  moved.copy.restoring.run();
  assert.equal(moved.to.ask(PORT, '12'), '144 2');
  assert.match(moved.to.ask(PORT, 'check', LONG_MS) ?? '', /"file":true.*"child":"out 3","worker":true,"kept":300000/);
  const counts = await done;
  assert.ok(counts.faults > 0);
  assert.match(moved.to.ask(PORT, 'check', LONG_MS) ?? '', /"worker":true,"kept":300000/);
});
