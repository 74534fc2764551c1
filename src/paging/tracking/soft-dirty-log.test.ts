import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PageRuns } from '../../linux/page-runs.ts';
import type { Tracee } from '../../linux/tracee.ts';
import type { OwnPages, ScannedArea } from '../../linux/write-scan.ts';
import { SoftDirtyLog } from './soft-dirty-log.ts';

const PAGE = 4096;
const PAGES = 24;

/** Pages with the bits that a kernel keeps for them. */
class FakeMemory {
  readonly pages = new Map<number, { value: number; dirty: boolean }>();
  stopped = false;
  lookedWhileRunning = 0;

  write(page: number, value: number): void {
    this.pages.set(page, { value, dirty: true });
  }

  throwAway(page: number): void {
    this.pages.delete(page);
  }

  look({ start, end }: ScannedArea, { own, changed }: OwnPages): void {
    if (!this.stopped) this.lookedWhileRunning++;
    for (let at = start; at < end; at += PAGE) {
      const page = this.pages.get(at / PAGE);
      if (page === undefined) continue;
      own.append(at, at + PAGE);
      if (page.dirty) changed.append(at, at + PAGE);
    }
  }

  clear(): void {
    for (const page of this.pages.values()) page.dirty = false;
  }

  close(): void {
    // Nothing is open.
  }
}

function logOf(memory: FakeMemory): SoftDirtyLog {
  const inStop = <T>(run: (main: Tracee) => T): T => {
    memory.stopped = true;
    try {
      return run(undefined as unknown as Tracee);
    } finally {
      memory.stopped = false;
    }
  };
  return new SoftDirtyLog(memory, () => [{ start: 0, end: PAGES * PAGE, isFile: false }], inStop);
}

const pagesIn = (runs: PageRuns): number[] =>
  runs
    .toRanges()
    .flatMap(({ start, length }) => Array.from({ length: length / PAGE }, (_, index) => Number(start) / PAGE + index));

test('the first round tells everything, whatever the bits are', () => {
  const memory = new FakeMemory();
  for (const page of [1, 2, 5]) memory.write(page, 1);
  memory.clear();
  const log = logOf(memory);
  assert.deepEqual(pagesIn(log.next().written), [1, 2, 5]);
  assert.deepEqual(pagesIn(log.next().written), []);
});

test('the bits are read and cleared in one stop', () => {
  const memory = new FakeMemory();
  memory.write(3, 1);
  const log = logOf(memory);
  log.next();
  memory.write(4, 1);
  log.next();
  assert.equal(memory.lookedWhileRunning, 0);
});

test('a last look changes nothing', () => {
  const memory = new FakeMemory();
  memory.write(3, 1);
  const log = logOf(memory);
  log.next();
  memory.write(4, 1);
  const areas = [{ start: 0, end: PAGES * PAGE, isFile: false }];
  assert.deepEqual(pagesIn(log.last(areas).written), [4]);
  assert.deepEqual(pagesIn(log.next().written), [4]);
});

const change = fc.record({ page: fc.nat(PAGES - 1), value: fc.nat(), kind: fc.constantFrom('write', 'throw away') });

test('a copy kept by rounds is the memory', () => {
  fc.assert(
    fc.property(fc.array(fc.array(change, { maxLength: 10 }), { minLength: 1, maxLength: 6 }), (rounds) => {
      const memory = new FakeMemory();
      const log = logOf(memory);
      const copy = new Map<number, number>();
      for (const changes of rounds) {
        for (const { page, value, kind } of changes)
          if (kind === 'write') memory.write(page, value);
          else memory.throwAway(page);
        const { own, written } = log.next();
        for (const page of pagesIn(written)) copy.set(page, memory.pages.get(page)!.value);
        const kept = new Set(pagesIn(own));
        for (const page of copy.keys()) if (!kept.has(page)) copy.delete(page);
      }
      assert.deepEqual(
        new Map([...copy].toSorted(([a], [b]) => a - b)),
        new Map([...memory.pages].toSorted(([a], [b]) => a - b).map(([page, { value }]) => [page, value])),
      );
    }),
  );
});
