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

const PYTHON = '/usr/bin/python3';
const VERSION = skip === false ? versionOf(PYTHON) : '3';

function versionOf(python: string): string {
  const code = 'import sys; print("%d.%d" % sys.version_info[:2], end="")';
  return spawnSync(python, ['-c', code], { encoding: 'utf8' }).stdout;
}

/** What configer finds below a directory of the fixture; each with what needed it. */
function broughtBelow(tree: FileTree, directory: string): string[] {
  const { stdout, stderr } = configer(tree);
  assert.equal(stderr, '');
  return parseFullConfig(stdout, 'x')
    .files.filter(({ path }) => path.startsWith(`${tree.at(directory)}/`))
    .map(({ path }) => path.slice(tree.root.length + 1));
}

/** A virtual environment, with packages that no directory of its own has, and with parts of one in several directories. */
function environment(): FileTree {
  const site = `venv/lib/python${VERSION}/site-packages`;
  const tree = fileTree({
    'venv/pyvenv.cfg': 'home = /usr/bin\ninclude-system-site-packages = false\n',
    'venv/bin/python3': { link: PYTHON },
    [`${site}/extra.pth`]: '# a comment\n\n../../../../more\n/no/such/directory\nimport own_start; own_start.now()\n',
    [`${site}/unused.pth`]: '../../../../unused\nimport os; os.system("echo ran >ran")\n',
    [`${site}/.hidden.pth`]: '../../../../hidden\n',
    [`${site}/own_start.py`]: 'def now(): pass\n',
    [`${site}/shared/one/__init__.py`]: 'from . import inner\n',
    [`${site}/shared/one/inner.py`]: '',
    [`${site}/shared/one/data.txt`]: 'data',
    [`${site}/shared/other/__init__.py`]: '',
    [`${site}/shared/deep/er/thing.py`]: 'import shared.two',
    'more/shared/two/__init__.py': 'value = 2\n',
    'more/shared/three.py': '',
    'more/plain/__init__.py': '',
    'more/plain/template.html': '',
    'unused/nothing.py': '',
    'hidden/concealed.py': '',
    'app/local/parts/thing.py': '',
    'app/server.py':
      'import shared.one, plain\nfrom shared.deep.er import thing\nfrom local.parts import thing as own\n' +
      'print(shared.one.inner.__name__, shared.two.value, own.__name__)\n',
  });
  tree.add({
    'base.yaml': `id: py
process: {executable: ${tree.at('venv/bin/python3')}, arguments: [-u, ${tree.at('app/server.py')}]}
network: {address: 10.88.0.5}
files: [${tree.at('app/server.py')}]
`,
  });
  return tree;
}

test('directories that a .pth file of site-packages adds, and packages without __init__ in several of them', {
  skip,
}, () => {
  using tree = environment();
  const site = `venv/lib/python${VERSION}/site-packages`;
  assert.deepEqual(
    [...broughtBelow(tree, 'venv'), ...broughtBelow(tree, 'more'), ...broughtBelow(tree, 'app')],
    [
      `${site}/extra.pth`,
      `${site}/own_start.py`,
      `${site}/shared/deep/er/thing.py`,
      `${site}/shared/one/__init__.py`,
      `${site}/shared/one/data.txt`,
      `${site}/shared/one/inner.py`,
      'venv/pyvenv.cfg',
      'more/plain/__init__.py',
      'more/plain/template.html',
      'more/shared/two/__init__.py',
      'app/local/parts/thing.py',
      'app/server.py',
    ],
  );
  assert.deepEqual(broughtBelow(tree, 'unused'), []);
});
