import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createSharedFile } from './shared-file.ts';

test('what stands in a shared file is in the file, also what a system call has put there', () => {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-shared-'));
  try {
    const path = join(directory, 'file');
    const file = createSharedFile(path, 8192);
    assert.ok(file.bytes.length === 8192 && file.bytes.every((byte) => byte === 0));
    file.bytes.write('by hand', 10);
    writeFileSync(join(directory, 'other'), 'by read');
    const other = openSync(join(directory, 'other'), 'r');
    readSync(other, file.bytes, 5000, 7, 0);
    closeSync(other);
    const contents = readFileSync(path);
    assert.equal(contents.toString('latin1', 10, 17), 'by hand');
    assert.equal(contents.toString('latin1', 5000, 5007), 'by read');
    assert.throws(() => createSharedFile(path, 4096), /EEXIST/);
    file.close();
    assert.deepEqual(readFileSync(path), contents);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
