import assert from 'node:assert/strict';
import { test } from 'node:test';
import { terminalProgress } from './terminal-progress.ts';

const HALF = { file: '/usr/bin/node', doneBytes: 60 << 20, totalBytes: 120 << 20 };

function run(isTTY: boolean, times: readonly number[]): string[] {
  const written: string[] = [];
  const clock = [0, ...times];
  const stream = { isTTY, write: (text: string) => written.push(text) > 0 };
  const progress = terminalProgress(stream, () => clock.shift()!);
  for (const _ of times) progress.report(HALF);
  progress.end();
  return written;
}

test('a terminal is told what takes long, not too often, and the line is cleared in the end', () => {
  assert.deepEqual(run(true, [10, 399, 401, 450, 502]), [
    ...Array.from({ length: 2 }, () => '\r\x1b[Khashing 60 MiB of 120 MiB: /usr/bin/node'),
    '\r\x1b[K',
  ]);
});

test('what is done soon, or not on a terminal, is done in silence', () => {
  assert.deepEqual(run(true, [10, 399]), []);
  assert.deepEqual(run(false, [10, 1000, 2000]), []);
});
