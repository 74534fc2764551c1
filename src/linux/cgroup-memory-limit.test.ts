import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { lowerMemoryLimit, memoryLimit, raiseMemoryLimit, tryLowerMemoryLimit } from './cgroup-memory-limit.ts';

const LIMIT = 100 << 20;

/** A directory with these files, in place of a control group's, and one of another controller. */
function group(t: { after(run: () => void): void }, files: Readonly<Record<string, string>>) {
  const home = mkdtempSync(join(tmpdir(), 'comicran-cgroup-'));
  t.after(() => rmSync(home, { recursive: true }));
  const paths = ['freezer', 'memory'].map((name) => join(home, name));
  for (const path of paths) mkdirSync(path);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(paths[1]!, name), `${text}\n`);
  const read = (name: string): number => Number(readFileSync(join(paths[1]!, name), 'latin1'));
  const write = (name: string, value: number): void => writeFileSync(join(paths[1]!, name), `${value}`);
  return { cgroup: { paths }, read, write };
}

const V1 = { 'memory.limit_in_bytes': `${LIMIT}`, 'memory.memsw.limit_in_bytes': `${LIMIT}` };
const V2 = { 'memory.max': `${LIMIT}`, 'memory.current': '4096' };

for (const [version, files, names] of [
  ['version 1', V1, ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes']],
  ['version 2', V2, ['memory.max']],
] as const)
  test(`${version}: a limit is raised, and put back where no more is used`, async (t) => {
    const { cgroup, read, write } = group(t, files);
    assert.equal(memoryLimit(cgroup), LIMIT);
    raiseMemoryLimit(cgroup, 4096);
    assert.deepEqual(
      names.map(read),
      names.map(() => LIMIT + 4096),
    );
    if (version === 'version 2') {
      write('memory.current', LIMIT + 1);
      assert.equal(tryLowerMemoryLimit(cgroup, LIMIT), false);
      assert.equal(memoryLimit(cgroup), LIMIT + 4096);
    }
    const lowering = lowerMemoryLimit(cgroup, LIMIT);
    if (version === 'version 2') write('memory.current', LIMIT);
    assert.equal(await lowering, true);
    assert.deepEqual(
      names.map(read),
      names.map(() => LIMIT),
    );
    // One that is lower is somebody's will.
    for (const name of names) write(name, 4096);
    assert.equal(tryLowerMemoryLimit(cgroup, LIMIT), true);
    assert.equal(memoryLimit(cgroup), 4096);
  });

test('what goes on using more is held to its limit again in the end', async (t) => {
  const { cgroup, write } = group(t, V2);
  raiseMemoryLimit(cgroup, 4096);
  write('memory.current', LIMIT + 1);
  assert.equal(await lowerMemoryLimit(cgroup, LIMIT), true);
  assert.equal(memoryLimit(cgroup), LIMIT);
});

test('where there is no limit, nothing is raised', (t) => {
  for (const files of [{}, { 'memory.max': 'max' }, { 'memory.limit_in_bytes': '9223372036854771712' }]) {
    const { cgroup } = group(t, files);
    assert.equal(memoryLimit(cgroup), undefined);
    raiseMemoryLimit(cgroup, 4096);
    assert.equal(memoryLimit(cgroup), undefined);
    assert.equal(tryLowerMemoryLimit(cgroup, LIMIT), true);
  }
});
