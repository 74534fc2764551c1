import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePythonCommand } from './command-line.ts';

const CASES: readonly [string, string, string?][] = [
  ['server.py --port 5', 'script', 'server.py'],
  ['-u -B server.py', 'script', 'server.py'],
  ['-W ignore -X dev server.py', 'script', 'server.py'],
  ['-Wignore -Xutf8 server.py', 'script', 'server.py'],
  ['-m http.server 80', 'module', 'http.server'],
  ['-Im http.server', 'module', 'http.server'],
  ['-mhttp.server', 'module', 'http.server'],
  ['-c pass', 'code', 'pass'],
  ['-uc pass', 'code', 'pass'],
  ['--check-hash-based-pycs never x.py', 'script', 'x.py'],
  ['-', 'none'],
  ['', 'none'],
];

for (const [line, kind, what] of CASES) {
  test(`python ${line}`, () => {
    const found = parsePythonCommand(line.split(' ').filter((word) => word !== ''));
    assert.deepEqual(found, what === undefined ? { kind } : { kind, what });
  });
}
