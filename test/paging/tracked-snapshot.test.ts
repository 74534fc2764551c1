/** Snapshots and captures of processes whose memory was copied while they ran. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { iterate } from '../../src/paging/tracking/rounds.ts';
import { openTracker, type WriteTracker } from '../../src/paging/tracking/write-tracker.ts';
import { beginRestore } from '../../src/restore/begin-restore.ts';
import { Cage, NODE, PYTHON, program } from '../engine/support/cage.ts';
import { facts, files, open, Resident } from '../engine/support/engine.ts';
import { needs } from '../support/needs.ts';
import { Copy } from './support/tracking.ts';

const skip = needs('root', 'unshare', 'nsenter', 'python3', 'ip');
const PORT = 7130;

const LIMITS = { maxRounds: 6, untilPages: 50 };

/** Copies what the process writes, until it is little. */
function copyInRounds(tracker: WriteTracker, copy: Copy): ReturnType<typeof iterate> {
  return iterate(tracker, {
    ...LIMITS,
    onRound: (round) => copy.apply(round, (ranges, into) => tracker.read(ranges, into)),
  });
}

/** Builds a process from an image and a copy of its memory. */
async function restoreFrom(image: Uint8Array, copy: Copy, cage: Cage): Promise<number> {
  const restoring = beginRestore(image, await cage.hatchery(), { facts, files });
  const { ranges, bytes } = copy.contents();
  restoring.writePages(ranges, bytes);
  restoring.finish();
  restoring.run();
  return restoring.pid;
}

test('a snapshot with memory copied beforehand is the state of its moment', { skip }, async () => {
  await using resident = await Resident.start([PYTHON, program('repl.py'), String(PORT)]);
  const ask = (text: string): string => resident.cage.ask(PORT, text) ?? 'no answer';
  await resident.cage.askUntilAnswered(PORT, '1');
  ask('x = bytearray(40 << 20)');
  using source = open(resident.pid);
  const copy = new Copy();
  using tracker = openTracker(resident.pid, { facts, inStop: (run) => source.inStop(run) });
  await copyInRounds(tracker, copy);
  ask('x[12345678] = 77; y = [0] * 500000; z = "before"');
  await copyInRounds(tracker, copy);
  ask('del y; x[23456789] = 78');
  const snapshot = source.snapshot({ copied: tracker });
  assert.ok(snapshot.pages.length > 0);
  const written = snapshot.pages.reduce((sum, { length }) => sum + length, 0);
  assert.ok(written < 8 << 20, `${written} bytes were copied in the stop`);
  ask('z = "after"; x[12345678] = 1');
  copy.apply({ written: snapshot.pages, gone: [] }, (ranges, into) => snapshot.readPages(ranges, into));
  copy.keepOnly(snapshot.ownPages);
  await using cage = await Cage.make();
  await restoreFrom(snapshot.image, copy, cage);
  assert.equal(cage.ask(PORT, '(x[12345678], x[23456789], z, len(x))'), "(77, 78, 'before', 41943040)");
  assert.equal(ask('(x[12345678], x[23456789], z)'), "(1, 78, 'after')");
});

test('a process that is stopped for good has its last pages read', { skip }, async () => {
  await using resident = await Resident.start([NODE, program('app.cjs'), String(PORT)]);
  await resident.cage.askUntilAnswered(PORT, '3');
  using source = open(resident.pid);
  const copy = new Copy();
  using tracker = openTracker(resident.pid, { facts, inStop: (run) => source.inStop(run) });
  await copyInRounds(tracker, copy);
  await using cage = await Cage.make();
  const frozen = source.freeze(tracker);
  copy.apply({ written: frozen.pages, gone: [] }, (ranges, into) => frozen.readPages(ranges, into));
  copy.keepOnly(frozen.ownPages);
  copy.assertEqualTo(resident.pid);
  await restoreFrom(frozen.image, copy, cage);
  frozen.kill();
  const answer = JSON.parse(cage.ask(PORT, 'check', 10_000) ?? '{}') as Record<string, unknown>;
  assert.deepEqual([answer['file'], answer['child'], answer['worker'], answer['kept']], [true, 'out 3', true, 300_000]);
});

test('a snapshot that fails leaves the tracker and the process going', { skip }, async () => {
  await using resident = await Resident.start([PYTHON, program('repl.py'), String(PORT)]);
  await resident.cage.askUntilAnswered(PORT, '1');
  using source = open(resident.pid);
  const copy = new Copy();
  using tracker = openTracker(resident.pid, { facts, inStop: (run) => source.inStop(run) });
  await copyInRounds(tracker, copy);
  const atStop = (): never => {
    throw new Error('not now');
  };
  assert.throws(() => source.snapshot({ copied: tracker, atStop }), /not now/);
  assert.equal(resident.cage.ask(PORT, '6*7'), '42');
  const snapshot = source.snapshot({ copied: tracker });
  copy.apply({ written: snapshot.pages, gone: [] }, (ranges, into) => snapshot.readPages(ranges, into));
  copy.keepOnly(snapshot.ownPages);
  // More rounds may follow a snapshot.
  resident.cage.ask(PORT, 'x = bytearray(b"q" * 5000000)');
  await copyInRounds(tracker, copy);
  const frozen = source.freeze(tracker);
  copy.apply({ written: frozen.pages, gone: [] }, (ranges, into) => frozen.readPages(ranges, into));
  copy.keepOnly(frozen.ownPages);
  copy.assertEqualTo(resident.pid);
  frozen.resume();
  assert.equal(resident.cage.ask(PORT, 'x[4999999]'), '113');
});

test('however much has been written since the last round, nearly all of it is copied before the stop', {
  skip,
}, async () => {
  await using resident = await Resident.start([PYTHON, program('repl.py'), String(PORT)]);
  await resident.cage.askUntilAnswered(PORT, '1');
  using source = open(resident.pid);
  const copy = new Copy();
  using tracker = openTracker(resident.pid, { facts, inStop: (run) => source.inStop(run) });
  const bytes = 100 << 20;
  resident.cage.ask(PORT, `x = bytearray(b"q") * ${bytes}`, 20_000);
  await copyInRounds(tracker, copy);
  assert.equal(resident.cage.ask(PORT, 'for at in range(0, len(x), 4096): x[at] = 7', 20_000), 'None');
  let bytesInStop = bytes;
  const last: WriteTracker['last'] = (areas) => {
    const found = tracker.last(areas);
    ({ bytesInStop } = found);
    return found;
  };
  const snapshot = source.snapshot({ copied: { prepare: () => tracker.prepare(), last } });
  const all = snapshot.pages.reduce((sum, { length }) => sum + length, 0);
  assert.ok(all >= bytes, `${all} bytes`);
  assert.ok(bytesInStop < bytes / 10, `${bytesInStop} bytes were copied in the stop`);
  copy.apply({ written: snapshot.pages, gone: [] }, (ranges, into) => snapshot.readPages(ranges, into));
  copy.keepOnly(snapshot.ownPages);
  const frozen = source.freeze(tracker);
  copy.apply({ written: frozen.pages, gone: [] }, (ranges, into) => frozen.readPages(ranges, into));
  copy.keepOnly(frozen.ownPages);
  copy.assertEqualTo(resident.pid);
  frozen.resume();
});
