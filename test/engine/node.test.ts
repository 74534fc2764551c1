/** Needs root. A Node server with all its threads goes on in another sandbox. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listThreads } from '../../src/linux/procfs.ts';
import { needs } from '../support/needs.ts';
import { NODE, program } from './support/cage.ts';
import { Resident } from './support/engine.ts';

const skip = needs('root', 'unshare', 'nsenter', 'python3', 'ip');
const PORT = 7101;

test('a Node server counts on over three generations, and everything in it still works', { skip }, async () => {
  await using server = await Resident.start([NODE, program('app.cjs'), String(PORT)]);
  let count = 1;
  assert.equal(await server.cage.askUntilAnswered(PORT, '12'), `144 ${count}`);
  const expected = server.cage.ask(PORT, 'check', 15_000);
  count++;
  assert.match(expected ?? '', /"file":true.*"child":"out 3","worker":true,"kept":300000/);
  for (let generation = 1; generation <= 3; generation++) {
    const threads = listThreads(server.pid).length;
    const ticks = Number(server.cage.ask(PORT, 'ticks'));
    await server.move();
    assert.equal(listThreads(server.pid).length, threads);
    count += 2;
    assert.equal(server.cage.ask(PORT, `1${'0'.repeat(30)}1`), `${BigInt(`1${'0'.repeat(30)}1`) ** 2n} ${count}`);
    assert.equal(server.cage.ask(PORT, 'check', 15_000), expected);
    count++;
    assert.ok(Number(server.cage.ask(PORT, 'ticks')) > ticks + 2, 'its interval timer goes on');
    count++;
    assert.equal(listThreads(server.pid).length, threads);
  }
});
