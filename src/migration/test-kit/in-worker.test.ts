/** A test in a worker passes when its body does, and fails with what that has thrown. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const IN_WORKER = new URL('./in-worker.ts', import.meta.url).href;

function runBodies(...tests: readonly string[]) {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-in-worker-'));
  try {
    const file = join(directory, 'some.test.mjs');
    const head = `import { testsInWorker } from '${IN_WORKER}'; const test = testsInWorker(import.meta.url);\n`;
    writeFileSync(file, head + tests.join('\n'));
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const { status, stdout } = spawnSync(process.execPath, ['--test-reporter=spec', file], { env, encoding: 'utf8' });
    return { status, stdout };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('what passes has run, in its turn, also what is registered late', () => {
  const { status, stdout } = runBodies(
    "const seen = []; test('one', () => { seen.push(1); });",
    "await new Promise((resolve) => setTimeout(resolve, 50)); test('two', async () => { seen.push(2); });",
    "test('both', () => { if (seen.join() !== '1,2') throw new Error(seen.join()); });",
  );
  assert.match(stdout, /pass 3\b/);
  assert.equal(status, 0);
});

test('what throws fails alone, with its words', () => {
  const { status, stdout } = runBodies(
    "test('bad', async () => { throw new Error('not what it was'); });",
    "test('good', () => undefined);",
  );
  assert.match(stdout, /pass 1\b[\s\S]*fail 1\b[\s\S]*not what it was/);
  assert.equal(status, 1);
});

test('a worker that ends fails what it was asked for', () => {
  const { status, stdout } = runBodies("test('bad', () => process.exit(0));");
  assert.match(stdout, /fail 1\b[\s\S]*the worker has ended/);
  assert.equal(status, 1);
});
