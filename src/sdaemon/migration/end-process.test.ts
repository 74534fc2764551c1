import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { endProcess } from './end-process.ts';

async function sleeper(): Promise<ChildProcess & { readonly pid: number }> {
  const child = spawn('sleep', ['infinity'], { stdio: 'ignore' });
  await once(child, 'spawn');
  return child as ChildProcess & { readonly pid: number };
}

test('a process ends, also one that is stopped; what froze it is taken away behind the signal', async () => {
  for (const isStopped of [false, true]) {
    const child = await sleeper();
    if (isStopped) child.kill('SIGSTOP');
    const ended = once(child, 'exit');
    let thawed = 0;
    await endProcess(child.pid, () => void thawed++);
    assert.deepEqual(await ended, [null, 'SIGKILL']);
    assert.equal(thawed, 1);
  }
});

test('where there is no process nothing is done', async () => {
  const child = await sleeper();
  child.kill('SIGKILL');
  await once(child, 'exit');
  await endProcess(child.pid, () => assert.fail('nothing is to be thawed'));
});
