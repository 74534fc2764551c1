import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadsOf } from './module-imports.ts';

const loads = (text: string, typescript = false) =>
  loadsOf(text, typescript)
    ?.loads.map(({ kind, specifier, certain }) => `${kind} ${specifier}${certain ? '!' : ''}`)
    .toSorted();

test('static and dynamic imports, re-exports, and files by URL', () => {
  const text = `import a from 'a'; import 'b'; export * from 'c'; export { x } from 'd'; export const y = 1;
    const e = await import('e'); new URL('./f.txt', import.meta.url); new Worker(new URL('g.js', import.meta.url));`;
  assert.deepEqual(loads(text), [
    'import a!',
    'import b!',
    'import c!',
    'import d!',
    'import e',
    'url ./f.txt',
    'url g.js',
  ]);
});

test('require in CommonJS, also where only sloppy code is allowed, and not in comments and text', () => {
  const text = `#!/usr/bin/env node
    // require('comment')
    var s = "require('text')"; with (s) { require('a'); }
    try { module.require('b') } catch {}
    require.resolve(\`c\`); function f() { return require('d') } return;`;
  assert.deepEqual(loads(text), ['require a', 'require b', 'require c', 'require d']);
});

test('computed names and looks beside the module are noticed', () => {
  for (const text of [
    'require(name)',
    "import('./' + x)",
    'read(__dirname)',
    'read(import.meta.dirname)',
    'new URL(name, import.meta.url)',
  ])
    assert.equal(loadsOf(text, false)?.computed, true, text);
  for (const text of ['require("a")', 'import.meta.url', 'import("a")'])
    assert.equal(loadsOf(text, false)?.computed, false, text);
});

test('types are taken off, and what is no JavaScript is nothing', () => {
  assert.deepEqual(loads("import type { T } from 't'; import { a } from './a.ts'; let x: T = a;", true), [
    'import ./a.ts!',
  ]);
  assert.equal(loadsOf('this is not', false), undefined);
});
