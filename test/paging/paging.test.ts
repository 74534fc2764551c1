/** Needs root. A process whose memory comes when it runs already: every byte is right, whatever it does meanwhile. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ComicranError } from '../../src/base/errors.ts';
import { NODE, PYTHON, program } from '../engine/support/cage.ts';
import { needs } from '../support/needs.ts';
import { Moved, PagingLab, SLOWLY } from './support/lazy-move.ts';

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
  const { done } = await lab.page(copy, server);
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
  const { done } = await lab.page(moved.copy, server);
  moved.copy.restoring.run();
  assert.equal(moved.to.ask(PORT, '12'), '144 2');
  assert.match(moved.to.ask(PORT, 'check', LONG_MS) ?? '', /"file":true.*"child":"out 3","worker":true,"kept":300000/);
  const counts = await done;
  assert.ok(counts.faults > 0);
  assert.match(moved.to.ask(PORT, 'check', LONG_MS) ?? '', /"worker":true,"kept":300000/);
});

for (const [what, commands] of Object.entries({
  'touches it from several threads at once': ['threads 4'],
  'has children and grandchildren that use it': ['child', 'some 100', 'grandchild'],
  'has areas whose protection it has changed': ['split', 'some 100', 'child'],
  'throws it away, moves it, writes it and forks at random': ['seed 1', 'churn 300', 'churn 300'],
  'does so with other luck': ['seed 2', 'churn 600', 'split', 'child'],
}))
  test(`memory is right while it comes to a process that ${what}`, { skip }, async () => {
    await using lab = await PagingLab.make();
    await using moved = await movedPages();
    const { server } = await lab.serve(moved.pid);
    const { done } = await lab.page(moved.copy, server, SLOWLY);
    moved.copy.restoring.run();
    for (const command of commands) assert.equal(moved.to.ask(PORT, command, LONG_MS), '0', command);
    assert.equal(moved.to.ask(PORT, 'check', LONG_MS), '0');
    const counts = await done;
    assert.ok(counts.pageFaults > 20 && counts.filledPages > 0, JSON.stringify(counts));
    assert.equal(moved.to.ask(PORT, 'check', LONG_MS), '0');
    assert.deepEqual(readdirSync(lab.directory), []);
  });

test('memory that comes only when it is touched is right, whatever the process does', { skip }, async () => {
  await using lab = await PagingLab.make();
  await using moved = await movedPages();
  const { server } = await lab.serve(moved.pid);
  const service = { fillWindow: 0, cluster: { min: 1, max: 4 } };
  const { paging } = await lab.page(moved.copy, server, { service });
  moved.copy.restoring.run();
  for (const command of ['seed 3', 'churn 400', 'split', 'child', 'threads 3', 'some 500', 'check'])
    assert.equal(moved.to.ask(PORT, command, LONG_MS), '0', command);
  const counts = await paging.counts();
  assert.ok(counts.pageFaults > 3000 && counts.filledPages === 0, JSON.stringify(counts));
});

test('a process waits for a source that is away, and goes on when it is back', { skip }, async () => {
  await using lab = await PagingLab.make();
  await using moved = await movedPages();
  const { serving, server } = await lab.serve(moved.pid);
  const { paging, done } = await lab.page(moved.copy, server, SLOWLY);
  moved.copy.restoring.run();
  assert.equal(moved.to.ask(PORT, 'some 50', LONG_MS), '0');
  await serving.close();
  assert.equal(moved.to.ask(PORT, 'check', 400), null, 'it waits');
  assert.ok((await paging.counts()).missingPages > 0);
  const again = await lab.serve(moved.pid, server);
  assert.equal(moved.to.ask(PORT, 'check', LONG_MS), '0');
  await again.serving.close();
  // Somewhere else, under another key: another daemon.
  const elsewhere = await lab.serve(moved.pid);
  paging.redirect(elsewhere.server);
  await done;
  assert.equal(moved.to.ask(PORT, 'check', LONG_MS), '0');
  assert.ok(lab.troubles.length > 0);
});

test('a source that has gone is told, and the process ends when it is ended', { skip }, async () => {
  await using lab = await PagingLab.make();
  await using moved = await movedPages();
  const { server, done: served } = await lab.serve(moved.pid);
  const { paging, done } = await lab.page(moved.copy, server, SLOWLY);
  moved.copy.restoring.run();
  moved.copy.frozen.kill();
  await assert.rejects(served, isGone);
  await assert.rejects(done, isGone);
  assert.equal(moved.to.ask(PORT, 'check', 300), null);
  process.kill(moved.copy.restoring.pid, 'SIGKILL');
  await paging.close();
});

for (const [what, fillWindow] of [
  ['while its memory comes', 1],
  ['while nothing comes', 0],
] as const)
  test(`a process that ends ${what} is noticed`, { skip }, async () => {
    await using lab = await PagingLab.make();
    await using moved = await movedPages();
    const { server } = await lab.serve(moved.pid);
    const { pid } = moved.copy.restoring;
    const service = { ...SLOWLY.service, fillWindow };
    const { done } = await lab.page(moved.copy, server, { service, ...(fillWindow === 0 ? { pid } : {}) });
    moved.copy.restoring.run();
    process.kill(pid, 'SIGKILL');
    await assert.rejects(done, /has ended/);
    assert.deepEqual(readdirSync(lab.directory), []);
  });

const isGone = (error: unknown): boolean => error instanceof ComicranError && error.code === 'process.gone';
