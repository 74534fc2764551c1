/** `comicran lab status` by its exit code. Needs root; touches no lab: it looks from where no network namespace has a name. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

const COMICRAN = join(import.meta.dirname, '../../bin/comicran');
const needs = process.geteuid?.() === 0 ? false : 'needs root';
if (needs !== false && process.env['MUST_RUN'] === '1') throw new Error(`lab status: ${needs}`);

/** In a mount namespace of its own, where the directory of named network namespaces is empty. */
function statusWithoutNodes(...words: readonly string[]) {
  const script = 'mkdir -p /run/netns && mount -t tmpfs none /run/netns && exec "$@"';
  return spawnSync('unshare', ['--mount', 'sh', '-c', script, 'sh', COMICRAN, 'lab', 'status', ...words], {
    encoding: 'utf8',
  });
}

test('a lab that is not up is exit code 3, and is printed all the same', { skip: needs }, () => {
  const text = statusWithoutNodes();
  assert.deepEqual([text.status, text.stderr], [3, '']);
  assert.match(text.stdout, /\n(there is no lab|the lab is not whole); 'comicran lab up'/);
  const json = statusWithoutNodes('--json');
  assert.equal(json.status, 3);
  assert.equal((JSON.parse(json.stdout) as { up: boolean }).up, false);
});
