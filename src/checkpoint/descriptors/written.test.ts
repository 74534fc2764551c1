import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { CarriedFileImage } from '../../image/descriptors/types.ts';
import type { FileStatus } from '../../linux/file-descriptors.ts';
import { DescriptorSource, Refusal } from './source.ts';
import { readWritten } from './written.ts';

const MIB = 1 << 20;
const MEMORY = '/dev/shm';

describe('what a process has written in memory', { skip: existsSync(MEMORY) ? false : `needs ${MEMORY}` }, () => {
  let directory = '';
  beforeEach(() => {
    directory = mkdtempSync(join(MEMORY, 'comicran-written-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const read = (known = (_: FileStatus) => false, written = [directory], running = false): CarriedFileImage[] => {
    const context = { pid: process.pid, pidfd: -1, threads: [], inherited: [], written };
    const source = new DescriptorSource({ ...context, ...(running ? { running } : {}) });
    const files: CarriedFileImage[] = [];
    try {
      readWritten(source, known, (file) => files.push(file));
    } finally {
      source.close();
    }
    return files;
  };
  const shown = (files: readonly CarriedFileImage[]): string[] =>
    files.map(({ path, mode, contents }) => `${path.slice(directory.length)} ${mode.toString(8)} ${contents}`);

  test('is read with its modes, parents first', () => {
    mkdirSync(join(directory, 'a/empty'), { recursive: true });
    chmodSync(join(directory, 'a'), 0o750);
    writeFileSync(join(directory, 'a/file'), 'text');
    chmodSync(join(directory, 'a/file'), 0o604);
    symlinkSync('../elsewhere', join(directory, 'a/link'));
    execFileSync('mkfifo', ['-m', '600', join(directory, 'pipe')]);
    chmodSync(join(directory, 'a/empty'), 0o1777);
    const expected = [
      '/a 40750 ',
      '/a/empty 41777 ',
      '/a/file 604 text',
      '/a/link 120777 ../elsewhere',
      '/pipe 10600 ',
    ];
    assert.deepEqual(shown(read()), expected);
    assert.deepEqual(
      read(undefined, undefined, true).map(({ contents, mode }) => contents.length * Number(mode < 0o10000)),
      [0, 0, 0, 0, 0],
      'of a process that runs no contents',
    );
  });

  test('what is open is carried already; what is on a disk is not read', () => {
    writeFileSync(join(directory, 'open'), 'text');
    assert.deepEqual(
      read(() => true),
      [],
    );
    const disk = mkdtempSync(join(tmpdir(), 'comicran-written-'));
    writeFileSync(join(disk, 'file'), 'text');
    assert.deepEqual(read(undefined, [disk, '/nowhere']), []);
    rmSync(disk, { recursive: true });
  });

  const refused = (what: RegExp): void => {
    for (const running of [true, false]) {
      assert.throws(
        () => read(undefined, undefined, running),
        (thrown) => thrown instanceof Refusal && what.test(thrown.message),
      );
    }
  };
  const large = (name: string, bytes: number): void => {
    writeFileSync(join(directory, name), '');
    truncateSync(join(directory, name), bytes);
  };

  test('what cannot travel is named, also before the stop', () => {
    writeFileSync(join(directory, 'one'), 'text');
    linkSync(join(directory, 'one'), join(directory, 'two'));
    refused(/\/one, which has another name/);
    rmSync(join(directory, 'two'));
    large('large', 16 * MIB + 1);
    refused(/\/large, on a file system in memory and too large to carry \(16777217 bytes\)/);
    rmSync(join(directory, 'large'));
    for (let at = 0; at < 5; at++) large(`part-${at}`, 15 * MIB);
    refused(/more than 67108864 bytes of files in memory, up to .*part-4/);
  });
});
