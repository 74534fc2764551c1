/** Ways out of a sandbox that are known: each is refused, and the machine is as it was. Needs root. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { becomeVm, needs } from '../jailor/support.ts';
import { jailorColumn } from './columns.ts';

test('every attempt to escape is refused', { skip: needs, timeout: 60_000 }, () => {
  const vm = becomeVm();
  const directory = mkdtempSync(join(tmpdir(), 'comicran-escape-'));
  const pattern = readFileSync('/proc/sys/kernel/core_pattern', 'latin1');
  try {
    mkdirSync(join(directory, 'sandboxes'));
    const { attempts } = jailorColumn(directory);
    assert.ok(attempts.length >= 30, 'the whole list was tried');
    assert.deepEqual(
      attempts.filter(({ done }) => done),
      [],
    );
    assert.equal(readFileSync('/proc/sys/kernel/core_pattern', 'latin1'), pattern);
    assert.ok(!existsSync('/escape-probe'));
  } finally {
    rmSync(directory, { recursive: true, force: true });
    vm.close();
  }
});
