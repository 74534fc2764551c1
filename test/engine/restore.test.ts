/** Needs root. A restore that fails leaves nothing; whatever happens to it, the source can go on. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { ComicranError, type ErrorCode } from '../../src/base/errors.ts';
import { decodeProcessImage, encodeProcessImage } from '../../src/image/codec.ts';
import type { ProcessImage } from '../../src/image/types.ts';
import { listChildren, listThreads, readStatus } from '../../src/linux/procfs.ts';
import { getScheduling } from '../../src/linux/scheduling.ts';
import { beginRestore } from '../../src/restore/begin-restore.ts';
import { RESTORE_FAULTS, type RestoreFault } from '../../src/restore/faults.ts';
import { needs } from '../support/needs.ts';
import { Cage, NODE, program } from './support/cage.ts';
import { facts, files, open, Resident, readAllPages } from './support/engine.ts';

const skip = needs('root', 'unshare', 'nsenter', 'python3', 'ip');
const PORT = 7107;

/** What of this program a step may have left behind. */
function ownState(): unknown {
  return { descriptors: readdirSync('/proc/self/fd').length, scheduling: getScheduling(0) };
}

function isDead(pid: number): boolean {
  return !existsSync(`/proc/${pid}`) || /^[ZX]/.test(readStatus(pid).text('State'));
}

/** Its PID is free again once its parent has asked for it. */
function untilReaped(pid: number): void {
  const pause = (): string => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
  for (let tries = 0; tries < 500 && existsSync(`/proc/${pid}`); tries++) pause();
  // The kernel takes it out of procfs a little earlier than out of its table.
  pause();
}

describe('a restore', { skip }, () => {
  let resident: Resident;
  let cage: Cage;
  let hatchery: number;
  let image: Buffer;
  let pages: readonly { start: bigint; length: number }[];
  let bytes: Buffer;

  before(async () => {
    resident = await Resident.start([NODE, program('app.cjs'), String(PORT)]);
    await resident.cage.askUntilAnswered(PORT, '2');
    cage = await Cage.make();
    hatchery = await cage.hatchery();
    using source = open(resident.pid);
    const frozen = source.freeze();
    image = Buffer.from(frozen.image);
    pages = frozen.pages;
    bytes = readAllPages(frozen);
    frozen.resume();
  });
  after(async () => {
    await resident[Symbol.asyncDispose]();
    await cage.remove();
  });

  const restoreAll = (options: Partial<Parameters<typeof beginRestore>[2]> = {}, from: Uint8Array = image): void => {
    const restoring = beginRestore(from, hatchery, { facts, files, ...options });
    restoring.writePages(pages, bytes);
    restoring.finish();
    restoring.destroy();
    untilReaped(restoring.pid);
  };
  const assertNothingLeft = (): void => {
    for (const pid of listChildren(cage.init)) if (pid !== hatchery && isDead(pid)) untilReaped(pid);
    assert.deepEqual(listChildren(cage.init), [hatchery]);
    assert.equal(readStatus(hatchery).number('TracerPid'), 0);
    assert.match(readStatus(hatchery).text('State'), /^[SR]/);
  };

  test('that is destroyed leaves nothing, as often as one likes', () => {
    restoreAll();
    const before = ownState();
    for (let round = 0; round < 3; round++) restoreAll();
    const restoring = beginRestore(image, hatchery, { facts, files });
    restoring.destroy();
    restoring.destroy();
    untilReaped(restoring.pid);
    assertNothingLeft();
    assert.deepEqual(ownState(), before);
  });

  for (const point of RESTORE_FAULTS)
    test(`that fails at ${point} leaves nothing`, () => {
      const before = ownState();
      const failure = new ComicranError('process.trace', 'as the test wants it');
      const reach = (at: RestoreFault): void => {
        if (at === point) throw failure;
      };
      assert.throws(() => restoreAll({ faults: { reach } }), failure);
      assertNothingLeft();
      assert.deepEqual(ownState(), before);
    });

  const changed = (change: (image: ProcessImage) => ProcessImage): Buffer =>
    encodeProcessImage(change(decodeProcessImage(image)));
  const refused = (from: Uint8Array, code: ErrorCode, message: RegExp): void => {
    assert.throws(
      () => restoreAll({}, from),
      (error) => {
        assert.ok(error instanceof ComicranError, String(error));
        assert.equal(error.code, code, error.message);
        assert.match(error.message, message);
        return true;
      },
    );
    assertNothingLeft();
  };

  test('of another kernel is refused, both are named', () => {
    const other = changed((whole) => ({ ...whole, platform: { ...whole.platform, kernelRelease: '5.10.0-99' } }));
    refused(other, 'image.kernel-mismatch', new RegExp(`kernel 5\\.10\\.0-99 .*this is ${facts.release}`));
    const vdsoDigest = Buffer.alloc(32);
    refused(
      changed((whole) => ({ ...whole, platform: { ...whole.platform, vdsoDigest } })),
      'image.kernel-mismatch',
      /has made another vDSO/,
    );
  });

  test('of a better CPU is refused, what is missing is named', () => {
    const cpuFeatures = [...facts.cpuFeatures, 'avx8192'];
    const other = changed((whole) => ({ ...whole, platform: { ...whole.platform, cpuFeatures } }));
    refused(other, 'image.kernel-mismatch', /this CPU lacks .*avx8192/);
  });

  test('without a file that is mapped, or with another one, is refused', () => {
    const path = '/usr/lib/comicran-is-not-here.so';
    const withFile = (change: object): Buffer =>
      changed((whole) => ({
        ...whole,
        memory: {
          ...whole.memory,
          files: whole.memory.files.map((file, at) => (at === 0 ? { ...file, ...change } : file)),
        },
      }));
    refused(withFile({ path }), 'process.unsupported', new RegExp(`${path} is missing in the sandbox`));
    refused(withFile({ size: 1n }), 'process.unsupported', /is another file at the destination/);
    refused(withFile({ headDigest: Buffer.alloc(32) }), 'process.unsupported', /is another file at the destination/);
  });

  test('without its executable or its working directory is refused', () => {
    const withProcess = (change: object): Buffer =>
      changed((whole) => ({ ...whole, process: { ...whole.process, ...change } }));
    refused(withProcess({ executable: '/nowhere/node' }), 'process.unsupported', /cannot execute \/nowhere\/node/);
    refused(withProcess({ workingDirectory: '/nowhere' }), 'process.trace', /go to \/nowhere .*ENOENT/);
  });

  test('to a PID that is taken is refused', () => {
    const pid = readStatus(hatchery).innermost('NSpid');
    const other = changed((whole) => ({
      ...whole,
      process: { ...whole.process, pid },
      threads: whole.threads.map((thread, index) => (index === 0 ? { ...thread, tid: pid } : thread)),
    }));
    refused(other, 'migration.refused', new RegExp(`process id ${pid} is taken`));
  });

  test('with an image that was cut or changed is refused', () => {
    refused(image.subarray(0, image.length - 1), 'image.invalid', /damaged/);
    const flipped = Buffer.from(image);
    flipped[image.length >> 1]! ^= 4;
    refused(flipped, 'image.invalid', /checksum/);
  });

  test('that gets pages where the process has none, or too few, fails', () => {
    const begin = (): ReturnType<typeof beginRestore> => beginRestore(image, hatchery, { facts, files });
    const page = Buffer.alloc(4096);
    const isInvalid = (error: unknown): boolean => error instanceof ComicranError && error.code === 'image.invalid';
    assert.throws(() => begin().writePages([{ start: 0x1000n, length: 4096 }], page), isInvalid);
    assertNothingLeft();
    const vdso = decodeProcessImage(image).memory.specials.at(-1)!.start;
    assert.throws(() => begin().writePages([{ start: vdso, length: 4096 }], page), isInvalid);
    assert.throws(() => begin().writePages(pages, bytes.subarray(1)), isInvalid);
    assert.throws(() => {
      const restoring = begin();
      restoring.writePages(pages.slice(1), bytes.subarray(pages[0]!.length));
      restoring.finish();
    }, isInvalid);
    assertNothingLeft();
  });

  test('leaves the source as it was', () => {
    assert.equal(resident.cage.ask(PORT, '3'), '9 2');
    assert.equal(
      listThreads(resident.pid).every((tid) => existsSync(`/proc/${resident.pid}/task/${tid}`)),
      true,
    );
  });
});
