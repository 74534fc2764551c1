/** The import rule of the house: a folder of src/ imports only what its line names (docs/architecture.md). */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';

const EVERYTHING = ['*'];
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  linux: ['base'],
  image: ['base'],
  checkpoint: ['base', 'linux', 'image'],
  restore: ['base', 'linux', 'image'],
  paging: ['base', 'linux', 'image'],
  replication: ['base', 'linux'],
  configer: ['base', 'linux'],
  jailor: ['base', 'linux'],
  migration: ['base', 'image'],
  sdn: ['base', 'linux', 'api'],
  api: ['base'],
  sdaemon: EVERYTHING,
  smanager: ['base', 'api'],
  monitor: ['base', 'linux'],
  traffic: ['base'],
  vm: ['base', 'linux', 'configer'],
  lab: ['base', 'api', 'linux', 'vm'],
  cli: EVERYTHING,
};
const IMPORT = /(?:\bfrom\s*|\bimport\s*\(\s*|\bimport\s+|new URL\(\s*)['"](\.{1,2}\/[^'"]+)['"]/g;

const root = join(import.meta.dirname, '..');
const files = globSync('src/**/*.ts', { cwd: root });

/** The folders of src/ that a source file reaches, with the specifier that does. */
function importsOf(file: string): { folder: string; specifier: string }[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(IMPORT)].map((match) => {
    const specifier = match[1]!;
    return { specifier, folder: normalize(join(dirname(file), specifier)).split('/')[1]! };
  });
}

test('there are sources to check, and every folder has a line in the rule', () => {
  assert.ok(files.length > 20, `only ${files.length} source files found`);
  for (const file of files)
    assert.ok(Object.hasOwn(MAY_IMPORT, file.split('/')[1]!), `${file}: no line for its folder`);
});

test('no file imports from a folder that its own folder may not import', () => {
  const broken = files.flatMap((file) => {
    const own = file.split('/')[1]!;
    const allowed = MAY_IMPORT[own] ?? [];
    // A test may lean on anything that it does not make part of the product.
    if (allowed === EVERYTHING || file.endsWith('.test.ts')) return [];
    return importsOf(file)
      .filter(({ folder }) => folder !== own && !allowed.includes(folder))
      .map(({ specifier }) => `${file} imports ${specifier}`);
  });
  assert.deepEqual(broken, []);
});

test('koffi is imported in linux/ alone', () => {
  const broken = files.filter(
    (file) => !file.startsWith('src/linux/') && /from ['"]koffi['"]/.test(readFileSync(join(root, file), 'utf8')),
  );
  assert.deepEqual(broken, []);
});
