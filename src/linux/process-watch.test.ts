import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { KernelError } from './errno.ts';
import { awaitExit } from './pidfd.ts';
import { endOf, ProcessWatch } from './process-watch.ts';

test('a status of waitpid is an exit code or a signal', () => {
  assert.deepEqual(endOf(0), { code: 0, signal: null });
  assert.deepEqual(endOf(3 << 8), { code: 3, signal: null });
  assert.deepEqual(endOf(9), { code: null, signal: 'SIGKILL' });
  // With a dump of its memory.
  assert.deepEqual(endOf(11 | 0x80), { code: null, signal: 'SIGSEGV' });
  assert.deepEqual(endOf(40), { code: null, signal: 'signal 40' });
});

/** A process whose parent, a shell, does not reap it before its own end. */
async function grandchild(command: string): Promise<{ pid: number; end: () => void }> {
  const shell = spawn('sh', ['-c', `(${command}) & echo $!; exec sleep 60`], { stdio: ['ignore', 'pipe', 'ignore'] });
  const [text] = (await once(shell.stdout, 'data')) as [Buffer];
  return { pid: Number(text.toString()), end: () => shell.kill('SIGKILL') };
}

test("the end of another one's child is noticed, and how it ended", async () => {
  for (const [command, signal, expected] of [
    ['sleep 0.3; exit 7', undefined, { code: 7, signal: null }],
    ['exec sleep 60', 'SIGSEGV', { code: null, signal: 'SIGSEGV' }],
  ] as const) {
    const { pid, end } = await grandchild(command);
    try {
      using watch = new ProcessWatch(pid);
      assert.equal(watch.ended(), undefined);
      if (signal !== undefined) process.kill(pid, signal);
      assert.ok(awaitExit(watch.descriptor, 10_000));
      assert.deepEqual(watch.ended(), expected);
    } finally {
      end();
    }
  }
});

test('where it has been reaped, that it has ended is known, and how is not', async () => {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' });
  using watch = new ProcessWatch(child.pid!);
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.deepEqual(watch.ended(), { code: null, signal: null });
  assert.deepEqual(watch.ended(), { code: null, signal: null }, 'it stays so');
});

test('a process that does not exist cannot be watched', () => {
  assert.throws(() => new ProcessWatch(4_194_303), KernelError);
});
