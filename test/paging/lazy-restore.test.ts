/** Needs root. A restore whose memory may come later: what must be there is there, and one that fails leaves nothing. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { ComicranError } from '../../src/base/errors.ts';
import { decodeProcessImage } from '../../src/image/codec.ts';
import { EEXIST } from '../../src/linux/errno.ts';
import { ProcessMemory } from '../../src/linux/memory.ts';
import { closeDescriptor, getDescriptor } from '../../src/linux/pidfd.ts';
import { listChildren, parseSmaps, readProc } from '../../src/linux/procfs.ts';
import { enableFeatures, FEATURE, tryCopy } from '../../src/linux/userfaultfd.ts';
import { reapThreads } from '../../src/linux/wait.ts';
import { beginRestore } from '../../src/restore/begin-restore.ts';
import { RESTORE_FAULTS, type RestoreFault } from '../../src/restore/faults.ts';
import { hatch } from '../../src/restore/hatch.ts';
import { lazySpans, splitPages } from '../../src/restore/lazy-areas.ts';
import { makeThroughDevice } from '../../src/restore/lazy-memory.ts';
import type { PageRange } from '../../src/restore/page-writer.ts';
import { Cage, NODE, program } from '../engine/support/cage.ts';
import { facts, files, open, Resident } from '../engine/support/engine.ts';
import { needs } from '../support/needs.ts';

const skip = needs('root', 'unshare', 'nsenter', 'python3', 'ip');
const PORT = 7152;
const AGENT_BYTES = 0x10000n;

const totalOf = (ranges: readonly PageRange[]): number => ranges.reduce((sum, { length }) => sum + length, 0);

function untilReaped(pid: number): void {
  for (let tries = 0; tries < 10_000 && existsSync(`/proc/${pid}`); tries++)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
}

describe('a lazy restore', { skip }, () => {
  let resident: Resident;
  let cage: Cage;
  let hatchery: number;
  let image: Buffer;
  let eager: readonly PageRange[];
  let lazy: readonly PageRange[];
  let bytes: Buffer;

  before(async () => {
    resident = await Resident.start([NODE, program('app.cjs'), String(PORT)]);
    await resident.cage.askUntilAnswered(PORT, '2');
    cage = await Cage.make();
    hatchery = await cage.hatchery();
    using source = open(resident.pid);
    const frozen = source.freeze();
    image = Buffer.from(frozen.image);
    ({ eager, lazy } = splitPages(decodeProcessImage(image), frozen.pages));
    bytes = Buffer.alloc(totalOf(eager));
    frozen.readPages(eager, bytes);
    frozen.resume();
  });
  after(async () => {
    await resident[Symbol.asyncDispose]();
    await cage.remove();
  });

  const begin = (reach: (point: RestoreFault) => void = () => undefined): ReturnType<typeof beginRestore> =>
    beginRestore(image, hatchery, { facts, files, lazy: true, faults: { reach } });
  const restoreAll = (reach?: (point: RestoreFault) => void): ReturnType<typeof beginRestore> => {
    const restoring = begin(reach);
    restoring.writePages(eager, bytes);
    restoring.finish(BigInt(totalOf(lazy)));
    return restoring;
  };
  const assertNothingLeft = (): void => {
    for (const pid of listChildren(cage.init)) if (pid !== hatchery) untilReaped(pid);
    assert.deepEqual(listChildren(cage.init), [hatchery]);
  };
  const descriptors = (): number => readdirSync('/proc/self/fd').length;

  test('leaves most of the memory for later', () => {
    assert.ok(totalOf(lazy) > 3 * totalOf(eager) || totalOf(lazy) > 4 << 20, `${totalOf(lazy)} and ${totalOf(eager)}`);
  });

  test('registers all memory that can be lazy and nothing else, and keeps no descriptor of it', () => {
    const restoring = restoreAll();
    const spans = lazySpans(decodeProcessImage(image).memory);
    const isIn = (address: bigint): boolean => spans.some(({ start, end }) => address >= start && address < end);
    for (const { start, flags, name } of parseSmaps(readProc(restoring.pid, 'smaps')))
      assert.equal(flags.has('um'), isIn(start), `0x${start.toString(16)} ${name}`);
    for (const number of readdirSync(`/proc/${restoring.pid}/fd`))
      assert.doesNotMatch(readlinkSync(`/proc/${restoring.pid}/fd/${number}`), /userfaultfd/);
    restoring.destroy();
    assertNothingLeft();
  });

  test('puts each early page where it belongs, alone', () => {
    const restoring = restoreAll();
    const memory = new ProcessMemory(restoring.pid);
    let at = 0;
    for (const { start, length } of eager) {
      // The kernel writes the number of the CPU into the areas of restartable sequences.
      const found = memory.read(start, length);
      let different = 0;
      for (let index = 0; index < length; index++) if (found[index] !== bytes[at + index]) different++;
      assert.ok(different <= 64, `${different} bytes of 0x${start.toString(16)}`);
      at += length;
    }
    memory.close();
    const page = Buffer.alloc(4096, 1);
    for (const { start } of lazy) assert.equal(tryCopy(restoring.userfault, start, page), 4096, 'it was missing');
    assert.equal(tryCopy(restoring.userfault, lazy[0]!.start, page), -EEXIST);
    restoring.destroy();
    assertNothingLeft();
  });

  test('takes a page that comes twice', () => {
    const restoring = begin();
    const again = [{ start: lazy[0]!.start, length: 4096 }];
    for (const value of [1, 2]) restoring.writePages(again, Buffer.alloc(4096, value));
    const memory = new ProcessMemory(restoring.pid);
    assert.deepEqual(memory.read(lazy[0]!.start, 4096), Buffer.alloc(4096, 2));
    memory.close();
    restoring.destroy();
    assertNothingLeft();
  });

  test('needs all pages that must come, and somebody for the others', () => {
    const restoring = begin();
    restoring.writePages(eager.slice(1), bytes.subarray(eager[0]!.length));
    assert.throws(() => restoring.finish(BigInt(totalOf(lazy))), /bytes of pages came/);
    assertNothingLeft();
    const complete = restoreAll();
    assert.throws(() => complete.run(), /nobody brings them/);
    complete.destroy();
    assertNothingLeft();
  });

  for (const point of RESTORE_FAULTS)
    test(`that fails at ${point} leaves nothing`, () => {
      restoreAll().destroy();
      assertNothingLeft();
      const count = descriptors();
      const failure = new ComicranError('process.trace', 'as the test wants it');
      assert.throws(
        () =>
          restoreAll((at) => {
            if (at === point) throw failure;
          }),
        failure,
      );
      assertNothingLeft();
      assert.equal(descriptors(), count);
    });

  test('has another way to its userfaultfd where the process may not make one', { skip: needsDevice() }, () => {
    const { process: made, pidfd, thread } = hatch(hatchery, 77, null);
    try {
      thread.installAgent(AGENT_BYTES);
      const count = readdirSync(`/proc/${made.pid}/fd`).length;
      const descriptor = makeThroughDevice(thread);
      assert.ok(descriptor >= 0, `${descriptor}`);
      const copy = getDescriptor(made.pid, descriptor);
      enableFeatures(copy, FEATURE.EVENT_FORK | FEATURE.EVENT_REMAP);
      closeDescriptor(copy);
      assert.equal(readdirSync(`/proc/${made.pid}/fd`).length, count + 1);
    } finally {
      process.kill(made.pid, 'SIGKILL');
      reapThreads([made.pid]);
      made.close();
      closeDescriptor(pidfd);
    }
  });
});

function needsDevice(): string | false {
  return existsSync('/dev/userfaultfd') ? false : 'needs /dev/userfaultfd';
}
