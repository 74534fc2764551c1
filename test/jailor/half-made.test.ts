/** Needs root. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { identifyProcess, isAlive } from '../../src/linux/process-identity.ts';
import { needs } from './support.ts';

const LONGEST_MS = 5000;

test('processes that are half made end with who makes them, also while nothing else would end them', {
  skip: needs,
}, async () => {
  const program = join(import.meta.dirname, 'half-made.ts');
  const { stdout, signal } = spawnSync(process.execPath, [program], { encoding: 'utf8' });
  assert.equal(signal, 'SIGKILL');
  const pids = stdout.trim().split(' ').map(Number);
  assert.equal(pids.length, 2);
  const left = () => pids.map(identifyProcess).filter((one) => one !== undefined && isAlive(one));
  try {
    for (let waited = 0; left().length > 0 && waited < LONGEST_MS; waited += 20) await pause(20);
    assert.deepEqual(left(), []);
  } finally {
    for (const identity of left()) process.kill(identity!.pid, 'SIGKILL');
  }
});
