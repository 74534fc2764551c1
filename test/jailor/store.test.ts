/** The root directory of a sandbox and the store that it comes from. Needs root. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, openSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FileEntry } from '../../src/base/sandbox-config.ts';
import { forgetSandbox, startSandbox } from '../../src/jailor/index.ts';
import { storeDirectory } from '../../src/jailor/naming.ts';
import { removeUnused, storeFigures } from '../../src/jailor/store/keeping.ts';
import { isAlive } from '../../src/linux/process-identity.ts';
import { inVm, leavesNothing, needs, runForeground, startForeground, testConfig } from './support.ts';

const MIB = 2 ** 20;
const LARGE_BYTES = 200 * MIB;
/** Of one MiB each, so that not one of them is like another. */
const PARTS = 8;

describe('the root directory of a sandbox', { skip: needs, timeout: 180_000 }, () => {
  const state = inVm((path) => {
    large = makeLarge(path);
  });
  let large: FileEntry[] = [];

  /** A root file system of 200 MB. */
  function makeLarge(directory: string): FileEntry[] {
    return Array.from({ length: PARTS }, (_, index) => {
      const source = join(directory, `large-${index}`);
      const hash = createHash('sha256');
      const fd = openSync(source, 'w');
      for (let at = 0; at < LARGE_BYTES / PARTS; at += MIB) {
        const bytes = Buffer.alloc(MIB, `${index} ${at}`);
        hash.update(bytes);
        writeSync(fd, bytes);
      }
      closeSync(fd);
      const size = LARGE_BYTES / PARTS;
      return { path: `/data/large-${index}`, source, sha256: hash.digest('hex'), size, mode: 0o644 };
    });
  }

  leavesNothing(state);

  const config = (script: string, id = 'jailtest', address = '10.88.77.5') => {
    const base = testConfig({ script, id, address });
    return { ...base, files: [...base.files, ...large] };
  };

  /** Starts a sandbox in the background, and ends it. @returns what its start did with files. */
  async function filesOfAStart(id: string, address: string) {
    const control = await startSandbox({ stateDirectory: state.path, config: config('sleep 60', id, address) });
    const { files, jailor } = control.state;
    await control.terminate({ signal: 'SIGKILL', graceMs: 0 });
    await control.closed;
    while (isAlive(jailor)) await sleep(5);
    await forgetSandbox(state.path, id);
    assert.ok(files);
    return files;
  }

  test('of 200 MB: the second start copies 0 bytes and reads none to see that they are right', async () => {
    const first = await filesOfAStart('one', '10.88.77.6');
    assert.ok(first.copiedBytes > LARGE_BYTES, `${first.copiedBytes}`);
    assert.equal(first.sharing, 'hardlink');
    const second = await filesOfAStart('one', '10.88.77.6');
    assert.deepEqual([second.copiedFiles, second.copiedBytes, second.rehashedBytes], [0, 0, 0]);
    const another = await filesOfAStart('two', '10.88.77.7');
    assert.deepEqual([another.copiedBytes, another.tree], [0, first.tree], 'another sandbox with the same files');
  });

  test('a named pipe in place of a file is told; nobody waits for who writes to it', async () => {
    const source = join(state.path, 'pipe');
    execFileSync('mkfifo', [source]);
    const base = testConfig({});
    const file = { path: '/data/file', source, sha256: '0'.repeat(64), size: 1, mode: 0o644 };
    const { code, stderr } = await runForeground(state.path, { ...base, files: [...base.files, file] });
    rmSync(source);
    assert.equal(code, 1);
    assert.match(stderr, /pipe has changed: it is not a regular file/);
  });

  test('two starts at once copy each file once', async () => {
    await removeUnused(storeDirectory(state.path));
    const both = await Promise.all([filesOfAStart('one', '10.88.77.6'), filesOfAStart('two', '10.88.77.7')]);
    const stored = storeFigures(storeDirectory(state.path)).bytes;
    assert.equal(both[0].copiedBytes + both[1].copiedBytes, stored);
  });

  test('what is shared cannot be written to from inside, by whatever name', async () => {
    const script = [
      'for name in /data/large-0 /proc/self/root/data/large-0 /bin/cat; do',
      '  (: >> $name) 2>/dev/null && echo "wrote to $name"',
      '  (: > $name) 2>/dev/null && echo "emptied $name"',
      '  touch $name 2>/dev/null && echo "touched $name"',
      'done; echo done',
    ].join('\n');
    const user = { uid: 0, gid: 0, groups: [] };
    const inside = config(script);
    const all = ['DAC_OVERRIDE', 'DAC_READ_SEARCH', 'FOWNER', 'CHOWN'];
    for (const capabilities of [[], all]) {
      const security = { capabilities, systemCalls: [] };
      const { stdout } = await runForeground(state.path, { ...inside, security, process: { ...inside.process, user } });
      assert.equal(stdout, 'done\n');
    }
  });

  test('who could make it writable gets files of its own', async () => {
    const base = testConfig({ script: 'echo here; read line' });
    const security = { capabilities: ['SYS_ADMIN'], systemCalls: ['mount'] };
    const sandbox = startForeground(state.path, { ...base, security });
    await sandbox.printed(/here/);
    const root = join(state.path, 'sandboxes/jailtest/root/bin');
    assert.ok(readdirSync(root).every((name) => statSync(join(root, name)).nlink === 1));
    sandbox.child.stdin.end('\n');
    await sandbox.finished;
  });

  test('a stored file with other bytes of the same size is noticed before anything starts from it', async () => {
    const { tree } = await filesOfAStart('one', '10.88.77.6');
    const path = join(tree!, 'data/large-3');
    const { atime, mtime } = statSync(path);
    const fd = openSync(path, 'r+');
    writeSync(fd, 'damage', 1000);
    closeSync(fd);
    utimesSync(path, atime, mtime);
    const { stderr, stdout } = await runForeground(state.path, config('cat /data/large-3 >/dev/null; echo ok'));
    assert.match(stderr, /\/data\/large-3: the stored file was damaged \(its sha256 is .*; it has been replaced/);
    assert.equal(stdout, 'ok\n');
    assert.equal(createHash('sha256').update(readFileSync(path)).digest('hex'), large[3]!.sha256);
  });

  test('a sandbox that runs keeps its files when the store is cleaned', async () => {
    const sandbox = startForeground(
      state.path,
      config('echo here; read line; cat /data/large-1 >/dev/null && echo 1 0'),
    );
    await sandbox.printed(/here/);
    await removeUnused(storeDirectory(state.path));
    assert.ok(storeFigures(storeDirectory(state.path)).bytes > LARGE_BYTES);
    sandbox.child.stdin.end('\n');
    assert.match((await sandbox.finished).stdout, /1 0/);
    await removeUnused(storeDirectory(state.path));
    assert.equal(storeFigures(storeDirectory(state.path)).files, 0);
    rmSync(storeDirectory(state.path), { recursive: true });
  });
});
