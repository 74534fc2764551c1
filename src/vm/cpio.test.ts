import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { cpioHeader, cpioPadding, cpioTrailer } from './cpio.ts';
import { CpioFile } from './cpio-file.ts';

test('a header is the one of cpio(5), byte for byte', () => {
  const header = cpioHeader({ kind: 'file', path: '/init', mode: 0o755, size: 3 }, 7);
  assert.equal(
    Buffer.from(header).toString('latin1'),
    '070701' + // magic
      '00000007' + // inode
      '000081ed' + // a file, 0755
      '00000000'.repeat(2) + // user, group
      '00000001' + // links
      '00000000' + // time of change
      '00000003' + // bytes
      '00000000'.repeat(4) + // devices
      '00000005' + // bytes of the name, with its end
      '00000000' + // checksum
      'init\0' +
      '\0', // to a multiple of four
  );
  assert.equal(cpioPadding(3).length, 1);
  assert.equal(cpioPadding(4).length, 0);
  assert.equal(cpioTrailer().length % 4, 0);
  assert.match(Buffer.from(cpioTrailer()).toString('latin1'), /^070701[0-9a-f]{104}TRAILER!!!\0/);
});

test('a file that is too long for the form is refused', () => {
  assert.throws(() => cpioHeader({ kind: 'file', path: '/a', mode: 0o644, size: 2 ** 32 }, 1), RangeError);
});

test('cpio unpacks what has been written; a second archive lies over the first', (context) => {
  const hasCpio = spawnSync('cpio', ['--version']).status === 0;
  const unpack = hasCpio ? ['cpio', '-idu', '--quiet'] : ['busybox', 'cpio', '-idu'];
  if (spawnSync(unpack[0]!, ['--help']).error !== undefined) {
    context.skip('needs cpio or busybox');
    return;
  }
  const home = mkdtempSync(join(tmpdir(), 'comicran-cpio-'));
  try {
    const source = join(home, 'source');
    writeFileSync(source, 'from a file');
    const archive = join(home, 'archive');
    const first = new CpioFile(archive);
    first.directory('/private', 0o700);
    first.file('/deep/below/text', 0o640, 'first');
    first.copy('/private/copy', 0o755, source, 11);
    first.symlink('/link', 'deep/below/text');
    first.end();
    const second = new CpioFile(archive);
    second.file('/deep/below/text', 0o600, 'second');
    second.end();

    // The program stops at the end of the first archive; the kernel goes on. So the second is read by itself.
    const bytes = readFileSync(archive);
    const split = bytes.indexOf('TRAILER!!!') + 'TRAILER!!!\0'.length;
    const whole = split + cpioPadding(split).length;
    for (const part of [bytes.subarray(0, whole), bytes.subarray(whole)]) {
      const done = spawnSync(unpack[0]!, unpack.slice(1), { cwd: home, input: part });
      assert.equal(done.status, 0, done.stderr.toString());
    }
    assert.equal(readFileSync(join(home, 'deep/below/text'), 'utf8'), 'second');
    assert.equal(readFileSync(join(home, 'private/copy'), 'utf8'), 'from a file');
    assert.equal(statSync(join(home, 'private')).mode & 0o777, 0o700);
    assert.equal(statSync(join(home, 'private/copy')).mode & 0o777, 0o755);
    assert.equal(readlinkSync(join(home, 'link')), 'deep/below/text');
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
});
