/** What a Python program imports, found with Debian's own interpreter. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseFullConfig } from '../../src/base/full-config.ts';
import { type FileTree, fileTree } from '../support/file-tree.ts';
import { needs } from '../support/needs.ts';

const home = join(import.meta.dirname, '../..');
const skip = needs('/usr/bin/python3');

const BASE = `id: py
process: {executable: /usr/bin/python3, arguments: [-u, /srv/server.py]}
network: {address: 10.88.0.5}
files: [{source: app/server.py, path: /srv/server.py}]
`;

function configer(tree: FileTree) {
  return spawnSync(join(home, 'bin/comicran'), ['configer', tree.at('base.yaml'), '--json'], { encoding: 'utf8' });
}

test('modules of its own, of the standard library with what their extensions need, and nothing of their tests', {
  skip,
}, () => {
  using tree = fileTree({
    'base.yaml': BASE,
    'app/server.py':
      'import helper, json, ssl\nfrom package import part\ntry:\n    import nowhere\nexcept ImportError: pass\n',
    'app/helper.py': 'import package.part',
    'app/package/__init__.py': '',
    'app/package/part.py': 'import select',
    'app/unused.py': '',
  });
  const { stdout, stderr } = configer(tree);
  assert.equal(stderr, 'note: nowhere, which __main__ may import, was not found\n');
  const { files } = parseFullConfig(stdout, 'x');
  const why = new Map(files.map((file) => [file.path, file.why]));
  assert.equal(why.get('/srv/server.py'), 'configuration: files');
  assert.equal(why.get('/srv/helper.py'), 'pythonModules: /srv/server.py');
  assert.match(why.get('/srv/package/part.py')!, /^pythonModules: \/srv\//);
  assert.equal(why.has('/srv/unused.py'), false);
  const paths = [...why.keys()];
  const ssl = paths.find((path) => /\/_ssl\.cpython.*\.so$/.test(path))!;
  assert.equal(why.get(paths.find((path) => path.endsWith('/libssl.so.3'))!), `library: ${ssl}`);
  assert.ok(paths.some((path) => path.endsWith('/json/decoder.py')));
  assert.ok(paths.some((path) => path.endsWith('/encodings/idna.py')));
  assert.deepEqual(
    paths.filter((path) => /\/(?:test|unittest|lib2to3|__pycache__)\//.test(path)),
    [],
  );
});

test('what the script cannot start without, and one that is no Python, are errors', { skip }, () => {
  using tree = fileTree({ 'base.yaml': BASE, 'app/server.py': 'import nowhere' });
  assert.match(
    configer(tree).stderr,
    /^comicran: \S+base\.yaml:2:10: process: the module nowhere, which \/srv\/server\.py imports, was not found \(py/,
  );
  tree.add({ 'app/server.py': 'def (' });
  assert.match(configer(tree).stderr, /cannot say what the program imports: SyntaxError/);
});
