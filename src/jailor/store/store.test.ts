import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fillOwnRoot, type TreeEntry } from './fill.ts';
import { removeAbandoned, removeUnused, storeFigures } from './keeping.ts';
import { Arrival, OBJECT, objectName } from './objects.ts';
import { Records } from './records.ts';
import { openTree, type Tree } from './tree.ts';
import { newUse, type StoreUse, type Way } from './use.ts';

const sha256 = (content: string): string => createHash('sha256').update(content).digest('hex');

describe('the store', () => {
  let directory = '';
  let stores = 0;
  const content = 'a'.repeat(3_000_000);
  const other = 'b'.repeat(1_000);

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'comicran-store-'));
    writeFileSync(join(directory, 'source'), content);
    writeFileSync(join(directory, 'other'), other);
  });
  after(() => rmSync(directory, { recursive: true }));

  const aStore = (): string => join(directory, `store-${++stores}`);
  const file = (path: string, change: object = {}): TreeEntry => {
    const base = { source: join(directory, 'source'), sha256: sha256(content), size: content.length, mode: 0o755 };
    return { kind: 'file', path, ...base, ...change };
  };
  const second = { source: '', sha256: sha256(other), size: other.length };
  const entries = (): TreeEntry[] => [
    { kind: 'directory', path: '/bin', mode: 0o711 },
    file('/bin/tool'),
    file('/bin/other', { ...second, source: join(directory, 'other') }),
    { kind: 'symlink', path: '/link', target: '/bin/tool' },
  ];
  const objectsIn = (store: string): string[] => readdirSync(store).filter((name) => OBJECT.test(name));
  const TOTAL = content.length + other.length;

  async function started(
    store: string,
    wanted = entries(),
    ways?: readonly Way[],
  ): Promise<{ tree: Tree; use: StoreUse; said: string[] }> {
    const said: string[] = [];
    const use = newUse((text) => said.push(text));
    return { tree: await openTree(store, wanted, use, ways), use, said };
  }

  test('a first start copies every file once, a second one nothing and reads nothing again', async () => {
    const store = aStore();
    const first = await started(store);
    assert.deepEqual([first.use.copiedFiles, first.use.copiedBytes, first.tree.sharing], [2, TOTAL, 'hardlink']);
    const second = await started(store);
    assert.deepEqual([second.use.copiedBytes, second.use.rehashedBytes, second.tree.root], [0, 0, first.tree.root]);
    assert.equal(readFileSync(join(first.tree.root, 'bin/tool'), 'utf8'), content);
    assert.equal(statSync(join(first.tree.root, 'bin')).mode & 0o7777, 0o711);
    assert.equal(statSync(join(first.tree.root, 'bin/tool')).mode & 0o7777, 0o755);
    assert.deepEqual(objectsIn(store).length, 2);
    first.tree.release();
    second.tree.release();
  });

  test('another tree shares what it has of the first, and neither is read again', async () => {
    const store = aStore();
    const one = await started(store);
    const two = await started(store, [file('/tool')]);
    assert.deepEqual([two.use.copiedBytes, two.use.rehashedBytes], [0, 0]);
    assert.equal(statSync(join(one.tree.root, 'bin/tool')).ino, statSync(join(two.tree.root, 'tool')).ino);
    const again = await started(store);
    assert.deepEqual([again.use.copiedBytes, again.use.rehashedBytes], [0, 0], 'though its files have a link more');
    for (const { tree } of [one, two, again]) tree.release();
  });

  test('the same content with other permission bits is another file', async () => {
    const store = aStore();
    const { tree } = await started(store, [file('/a'), file('/b', { mode: 0o644 })]);
    assert.equal(statSync(join(tree.root, 'a')).mode & 0o7777, 0o755);
    assert.equal(statSync(join(tree.root, 'b')).mode & 0o7777, 0o644);
    tree.release();
  });

  test('what is in the store does not need its source', async () => {
    const store = aStore();
    (await started(store)).tree.release();
    (await started(store, [file('/elsewhere', { source: '/absent' })])).tree.release();
  });

  test('a file of the same size with other bytes is noticed, named, and copied anew', async () => {
    for (const ways of [['hardlink'], ['copy']] as const) {
      const store = aStore();
      (await started(store, entries(), ways)).tree.release();
      const { tree } = await started(store, entries(), ways);
      const path = join(tree.root, 'bin/tool');
      const { atime, mtime } = statSync(path);
      writeFileSync(path, 'x'.repeat(content.length));
      utimesSync(path, atime, mtime); // as if nothing had been
      const { use, said, tree: repaired } = await started(store, entries(), ways);
      assert.deepEqual(use.repaired, ['/bin/tool']);
      assert.match(said.join('\n'), /\/bin\/tool: the stored file was damaged \(its sha256 is/);
      assert.equal(use.rehashedBytes >= content.length, true);
      assert.equal(readFileSync(join(repaired.root, 'bin/tool'), 'utf8'), content);
      const healthy = await started(store, entries(), ways);
      assert.deepEqual([healthy.use.repaired, healthy.use.rehashedBytes], [[], 0]);
      for (const one of [tree, repaired, healthy.tree]) one.release();
    }
  });

  test('a damaged one whose source is gone keeps the sandbox from starting', async () => {
    const store = aStore();
    const own = join(directory, 'own-source');
    writeFileSync(own, content);
    const wanted = [file('/tool', { source: own })];
    const { tree } = await started(store, wanted);
    tree.release();
    writeFileSync(join(tree.root, 'tool'), 'x'.repeat(content.length));
    rmSync(own);
    await assert.rejects(started(store, wanted), {
      code: 'config.missing-file',
      message: /own-source cannot be read and its stored copy is damaged \(its sha256 is/,
    });
  });

  test('one that was touched and is the same is read once, and kept', async () => {
    const store = aStore();
    const { tree } = await started(store);
    chmodSync(join(tree.root, 'bin/tool'), 0o777);
    const { use, tree: again } = await started(store);
    assert.deepEqual([use.copiedBytes, use.rehashedBytes, use.repaired], [0, content.length, []]);
    assert.equal(statSync(join(tree.root, 'bin/tool')).mode & 0o7777, 0o755, 'with the bits that it should have');
    const third = await started(store);
    assert.equal(third.use.rehashedBytes, 0);
    for (const one of [tree, again, third.tree]) one.release();
  });

  test('a store without its records reads everything once', async () => {
    const store = aStore();
    (await started(store)).tree.release();
    rmSync(join(store, 'records'));
    const { use, tree } = await started(store);
    assert.deepEqual([use.copiedBytes, use.rehashedBytes], [0, TOTAL]);
    tree.release();
    const again = await started(store);
    assert.equal(again.use.rehashedBytes, 0);
    again.tree.release();
  });

  test('what a power failure has emptied is made anew: small files of a tree, records, stored files', async () => {
    for (const emptied of ['sharing', 'objects'] as const) {
      const store = aStore();
      const { tree } = await started(store);
      tree.release();
      const directory = dirname(tree.root);
      writeFileSync(join(directory, emptied), '');
      writeFileSync(join(store, 'records'), '');
      truncateSync(join(tree.root, 'bin/tool'));
      const again = await started(store);
      assert.equal(again.tree.sharing, 'hardlink');
      assert.equal(readFileSync(join(again.tree.root, 'bin/tool'), 'utf8'), content);
      assert.deepEqual(again.use.copiedFiles, 1);
      again.tree.release();
      assert.equal(storeFigures(store).files, 2);
    }
  });

  test('a source that is not what it should be is named, and nothing stays', async () => {
    const store = aStore();
    const short = join(directory, 'short');
    writeFileSync(short, 'short');
    const start = (change: object) => started(store, [file('/x', { sha256: 'f'.repeat(64), ...change })]);
    await assert.rejects(start({}), { code: 'config.changed-file', message: /source has changed: its sha256 is/ });
    const size = { code: 'config.changed-file', message: /it has 5 bytes, not 3000000/ };
    await assert.rejects(start({ source: short }), size);
    const kind = { code: 'config.changed-file', message: /not a regular file/ };
    await assert.rejects(start({ source: directory }), kind);
    await assert.rejects(start({ source: '/absent' }), { code: 'config.missing-file', message: /\/absent/ });
    assert.deepEqual(readdirSync(store), []);
  });

  test('jailors that want the same new file at once make one copy, and nobody sees a half one', async () => {
    const store = aStore();
    const large = join(directory, 'large');
    writeFileSync(large, Buffer.alloc(40_000_000, 'large'));
    const wanted = { source: large, sha256: sha256(readFileSync(large, 'latin1')), size: 40_000_000 };
    const program = `
      import { openTree } from ${JSON.stringify(join(import.meta.dirname, 'tree.ts'))};
      import { newUse } from ${JSON.stringify(join(import.meta.dirname, 'use.ts'))};
      const use = newUse();
      const tree = await openTree(${JSON.stringify(store)}, ${JSON.stringify([file('/large', wanted)])}, use);
      console.log(JSON.stringify(use));`;
    const jailors = [1, 2, 3].map(() => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      return new Promise<StoreUse>((resolve) => {
        let text = '';
        child.stdout.on('data', (more) => {
          text += more;
        });
        child.on('close', () => resolve(JSON.parse(text)));
      });
    });
    let over = false;
    const all = Promise.all(jailors).finally(() => {
      over = true;
    });
    while (!over) {
      for (const name of objectsIn1(store)) assert.equal(statSync(join(store, name)).size, wanted.size);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    const uses = await all;
    assert.deepEqual(uses.map(({ copiedBytes }) => copiedBytes).toSorted(), [0, 0, wanted.size]);
    assert.ok(readdirSync(store).every((name) => !name.startsWith('incoming')));
  });

  const objectsIn1 = (store: string): string[] => {
    try {
      return objectsIn(store);
    } catch {
      return []; // not yet
    }
  };

  test('what a jailor that is gone had begun is removed or gone on with, what one at work has begun is not', async () => {
    const store = aStore();
    mkdirSync(store);
    const left = join(store, `incoming-${sha256('x')}.0755`);
    writeFileSync(left, 'half');
    const own = await Arrival.begin(store, { source: 'x', sha256: sha256(other), size: other.length, mode: 0o644 });
    removeAbandoned(store);
    assert.deepEqual(readdirSync(store), [`incoming-${sha256(other)}.0644`]);
    own.discard();
    writeFileSync(join(store, `incoming-${sha256(content)}.0755`), 'half');
    (await started(store)).tree.release();
    removeAbandoned(join(directory, 'absent'));
  });

  test('a file from another machine has its name when it is complete and right, and not before', async () => {
    const store = aStore();
    const wanted = { source: '/there', sha256: sha256(other), size: other.length, mode: 0o644 };
    const object = join(store, objectName(wanted));
    const good = await Arrival.begin(store, wanted);
    good.add(Buffer.from(other.slice(0, 500)));
    assert.throws(() => statSync(object));
    good.add(Buffer.from(other.slice(500)));
    good.end(store, new Records(store), 1_000);
    assert.equal(readFileSync(object, 'utf8'), other);
    assert.equal(statSync(object).mode & 0o7777, 0o644);
    rmSync(object);
    const bad = await Arrival.begin(store, wanted);
    bad.add(Buffer.from('c'.repeat(other.length)));
    assert.throws(() => bad.end(store, new Records(store), 0), { code: 'peer.protocol', message: /did not arrive/ });
    assert.deepEqual(objectsIn(store), []);
    const long = await Arrival.begin(store, wanted);
    assert.throws(() => long.add(Buffer.from(`${other}more`)), { code: 'peer.protocol' });
    long.discard();
  });

  test('what nobody uses is told, removed, counted, and taken in again when it is needed', async () => {
    const store = aStore();
    assert.deepEqual(await removeUnused(store), { files: 0, bytes: 0 });
    const used = await started(store, [file('/tool')]);
    (await started(store)).tree.release();
    const figures = { files: 2, bytes: TOTAL, trees: 2, treesInUse: 1, unusedFiles: 1, unusedBytes: other.length };
    assert.deepEqual(storeFigures(store), figures);
    assert.deepEqual(await removeUnused(store), { files: 1, bytes: other.length });
    const left = { files: 1, bytes: content.length, trees: 1, treesInUse: 1, unusedFiles: 0, unusedBytes: 0 };
    assert.deepEqual(storeFigures(store), left);
    const again = await started(store);
    assert.deepEqual([again.use.copiedBytes, again.use.rehashedBytes], [other.length, 0]);
    again.tree.release();
    used.tree.release();
    assert.deepEqual(await removeUnused(store), { files: 2, bytes: TOTAL });
    assert.equal(storeFigures(store).files, 0);
  });

  test('a root of its own shares nothing with the store', async () => {
    const store = aStore();
    const root = join(directory, 'own-root');
    mkdirSync(root);
    const use = newUse();
    assert.notEqual(await fillOwnRoot(store, root, entries(), use), 'hardlink');
    assert.equal(statSync(join(root, 'bin/tool')).nlink, 1);
    assert.equal(use.copiedBytes, 2 * TOTAL);
  });

  test('where links cannot be made, there are copies, and it says so', async () => {
    const store = aStore();
    const { tree, use } = await started(store, entries(), ['reflink', 'copy']);
    assert.ok(tree.sharing === 'copy' || tree.sharing === 'reflink');
    assert.equal(statSync(join(tree.root, 'bin/tool')).nlink, 1);
    assert.ok(use.copiedBytes === (tree.sharing === 'copy' ? 2 : 1) * TOTAL);
    const again = await started(store, entries(), ['reflink', 'copy']);
    assert.deepEqual([again.use.copiedBytes, again.use.rehashedBytes], [0, 0]);
    tree.release();
    again.tree.release();
  });

  test('a symbolic link in the place of a stored file is none', async () => {
    const store = aStore();
    const { tree } = await started(store, [file('/tool')]);
    tree.release();
    const [name = ''] = objectsIn(store);
    renameSync(join(store, name), join(directory, 'moved'));
    symlinkSync(join(directory, 'moved'), join(store, name));
    (await started(store, [file('/elsewhere')])).tree.release();
    assert.ok(statSync(join(store, name)).isFile());
  });
});
