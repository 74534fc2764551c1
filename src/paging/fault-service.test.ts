import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FaultService, type FaultServiceOptions, type Purpose } from './fault-service.ts';
import { MissingPages } from './missing-pages.ts';
import { contentOf, FakeLines, FakeProcess, type Random } from './test-kit.ts';

const PAGES = 64;
/** Where pages are moved to: room that the process does not have at first. */
const ROOM = 96;

class World {
  readonly lines = new FakeLines();
  readonly processes: FakeProcess[];
  readonly service: FaultService;
  micros = 0;

  /** @param missing pages with contents; the process has all from 0 to PAGES. */
  constructor(missing: readonly number[], random: Random, options: Partial<FaultServiceOptions> = {}) {
    const expected = new Map(Array.from({ length: PAGES }, (_, page) => [page, 0] as [number, number]));
    for (const page of missing) expected.set(page, contentOf(page));
    const own = new FakeProcess(expected, random);
    this.processes = [own];
    const runs = missing.toSorted((a, b) => a - b).map((page) => ({ page, count: 1 }));
    const ports = {
      ask: (purpose: Purpose, asked: Parameters<FakeLines['ask']>[1]) => this.lines.ask(purpose, asked),
      childSpace: (descriptor: number) => this.#newChild(descriptor),
      ended: () => undefined,
      nowMicros: () => this.micros++,
    };
    this.service = new FaultService(own, MissingPages.at(runs), ports, { fillChunk: 4, fillWindow: 12, ...options });
  }

  #newChild(descriptor: number): FakeProcess {
    const child = this.processes.flatMap(({ children }) => children).find((each) => each.descriptor === descriptor);
    assert.ok(child !== undefined && !this.processes.includes(child));
    this.processes.push(child);
    return child;
  }

  connect(purpose: Purpose): void {
    if (this.lines.connected[purpose]) return;
    this.lines.connected[purpose] = true;
    this.service.connected(purpose);
  }

  cut(purpose: Purpose): void {
    if (!this.lines.connected[purpose]) return;
    this.lines.cut(purpose);
    this.service.disconnected(purpose);
  }

  deliver(purpose: Purpose, keep = false): void {
    for (const { runs, bytes } of this.lines.answers(purpose, keep)) this.service.arrived(purpose, runs, bytes);
  }

  /** With both connections, until nothing changes any more. */
  settle(): void {
    this.connect('faults');
    this.connect('fill');
    for (let round = 0; round < 500; round++) {
      this.micros += 20_000;
      this.service.poll();
      this.service.fill();
      this.deliver('faults');
      this.deliver('fill');
    }
  }

  /** Everything that has contents is there, in every process that has not ended, and nobody waits. */
  assertComplete(): void {
    assert.ok(this.service.isComplete);
    for (const process of this.processes) {
      if (process.ended) continue;
      assert.deepEqual([...process.waiting], []);
      for (const [page, content] of process.expected)
        if (content !== 0 || process.present.has(page))
          assert.equal(process.present.get(page), content, `page ${page}`);
    }
  }
}

const first: Random = () => 0;

test('a page that is waited for is asked for first, with its neighbours behind it, and those in order bring more', () => {
  const world = new World(
    Array.from({ length: PAGES }, (_, page) => page),
    (limit) => limit - 1,
    { cluster: { min: 4, max: 16 } },
  );
  const asked: unknown[] = [];
  const { ask } = world.lines;
  world.lines.ask = (purpose, runs) => {
    if (purpose === 'faults') asked.push(runs);
    return ask.call(world.lines, purpose, runs);
  };
  world.connect('faults');
  for (const page of [6, 8, 16, 32]) {
    world.processes[0]!.touch(page);
    world.service.poll();
    while (world.processes[0]!.waiting.size > 0) world.deliver('faults');
  }
  assert.deepEqual(asked, [
    [
      { page: 6, count: 1 },
      { page: 7, count: 1 },
      { page: 4, count: 2 },
    ],
    [
      { page: 8, count: 1 },
      { page: 9, count: 7 },
    ],
    [
      { page: 16, count: 1 },
      { page: 17, count: 15 },
    ],
    [
      { page: 32, count: 1 },
      { page: 33, count: 15 },
    ],
  ]);
  const counts = world.service.counts();
  assert.equal(counts.faults, 4);
  assert.equal(counts.pageFaults, 4);
});

test('memory that never had contents is a zero page at once, without the source', () => {
  const world = new World([5], first);
  world.processes[0]!.touch(6);
  world.service.poll();
  assert.equal(world.processes[0]!.present.get(6), 0);
  assert.equal(world.service.counts().zeroFaults, 1);
  assert.equal(world.lines.requests, 0);
});

test('the fill never has more on its way than its window', () => {
  const world = new World(
    Array.from({ length: PAGES }, (_, page) => page),
    first,
  );
  world.connect('fill');
  for (let round = 0; round < 10; round++) world.service.fill();
  assert.equal(world.lines.requests, 3);
  world.deliver('fill');
  world.service.fill();
  assert.equal(world.lines.requests, 4);
});

test('while there are faults the fill has one request on its way', () => {
  const world = new World(
    Array.from({ length: PAGES }, (_, page) => page),
    first,
  );
  world.connect('fill');
  world.processes[0]!.touch(60);
  world.service.poll();
  for (let round = 0; round < 10; round++) world.service.fill();
  assert.equal(world.lines.requests, 1);
  world.micros += 10_000;
  world.service.fill();
  assert.equal(world.lines.requests, 3);
});

test('what comes while an event waits is put when it has been read', () => {
  const world = new World([1], first);
  const process = world.processes[0]!;
  world.connect('faults');
  process.touch(1);
  world.service.poll();
  process.remove(5, 6);
  world.deliver('faults');
  assert.equal(process.present.size, 0);
  assert.ok(world.service.mustRetry && !world.service.isComplete);
  for (let round = 0; round < 3; round++) world.service.poll();
  assert.deepEqual([...process.present], [[1, contentOf(1)]]);
  assert.ok(world.service.isComplete);
});

test('what has been moved, and nobody has told yet, comes to where it is now', () => {
  const world = new World([1], first);
  const process = world.processes[0]!;
  world.connect('faults');
  process.touch(1);
  world.service.poll();
  process.move(1, ROOM, 1);
  world.deliver('faults');
  assert.ok(!world.service.isComplete, 'there is no memory at page 1, but that may not be all');
  process.touch(ROOM);
  for (let round = 0; round < 5; round++) {
    world.service.poll();
    world.deliver('faults');
  }
  assert.deepEqual([...process.present], [[ROOM, contentOf(1)]]);
  assert.ok(world.service.isComplete);
});

test('memory that a child does not have is given up after a while', () => {
  const world = new World([1], first);
  world.processes[0]!.expected.delete(1);
  world.connect('fill');
  world.service.fill();
  world.deliver('fill');
  world.service.poll();
  assert.ok(!world.service.isComplete);
  world.micros += 2_000_000;
  world.service.poll();
  assert.ok(world.service.isComplete);
});

test('who waits when a connection breaks is asked for again when there is one', () => {
  const world = new World([1, 2], first);
  world.connect('faults');
  world.processes[0]!.touch(1);
  world.service.poll();
  world.cut('faults');
  world.service.poll();
  assert.equal(world.lines.requests, 1);
  world.connect('faults');
  assert.ok(world.service.mustRetry);
  world.service.poll();
  assert.equal(world.lines.requests, 2);
  world.deliver('faults');
  assert.equal(world.processes[0]!.waiting.size, 0);
});

test('a process that ends leaves nothing to be done', () => {
  const world = new World([1, 2], first);
  world.connect('faults');
  world.processes[0]!.touch(1);
  world.service.poll();
  world.processes[0]!.ended = true;
  world.deliver('faults');
  assert.ok(world.service.hasEnded);
});

type Action = { readonly what: number; readonly process: number; readonly page: number; readonly count: number };

function act(world: World, { what, process: index, page, count }: Action): void {
  const process = world.processes[index % world.processes.length]!;
  const purpose: Purpose = page % 2 === 0 ? 'faults' : 'fill';
  switch (what) {
    case 0:
    case 1:
      process.touch(page);
      break;
    case 2:
      world.service.poll();
      break;
    case 3:
      world.service.fill();
      break;
    case 4:
      world.deliver('faults', count === 1);
      break;
    case 5:
      world.deliver('fill', count === 1);
      break;
    case 6:
      world.connect(purpose);
      break;
    case 7:
      if (count < 4) world.cut(purpose);
      break;
    case 8:
      process.touch(page + ROOM);
      break;
    // One thread of the process changes its memory, and waits until that has been heard.
    case 9:
      if (!process.isChanging) process.remove(page, Math.min(PAGES, page + count));
      break;
    case 10:
      if (!process.isChanging) process.unmap(page, Math.min(PAGES, page + count));
      break;
    case 11:
      if (!process.isChanging && hasAll(process, page, count)) process.move(page, ROOM + page, count);
      break;
    case 12:
      if (!process.isChanging && hasAll(process, ROOM + page, count)) process.move(ROOM + page, page, count);
      break;
    case 13:
      if (!process.isChanging && hasAll(process, page, count)) process.moveContents(page, ROOM + page, count);
      break;
    case 14:
      if (!process.isChanging && world.processes.length < 4 && count < 5) process.fork();
      break;
    default:
      if (count === 1 && index > 0) process.ended = true;
  }
}

/** mremap takes what is mapped as a whole. */
function hasAll(process: FakeProcess, page: number, count: number): boolean {
  return Array.from({ length: count }, (_, index) => process.expected.has(page + index)).every(Boolean);
}

test('whatever a process does, and whatever becomes of messages, it sees nothing but what it must see', () => {
  const page = fc.nat(PAGES - 1);
  const action = fc.record({ what: fc.nat(15), process: fc.nat(3), page, count: fc.integer({ min: 1, max: 10 }) });
  fc.assert(
    fc.property(
      fc.uniqueArray(page, { maxLength: PAGES }),
      fc.array(action, { minLength: 20, maxLength: 150 }),
      fc.infiniteStream(fc.nat(1 << 20)),
      (missing, actions, stream) => {
        const world = new World(missing, (limit) => Number(stream.next().value) % limit);
        for (const each of actions) act(world, each);
        for (const process of world.processes)
          for (let at = 0; at < PAGES + ROOM; at++) if (at % 3 === 0) process.touch(at);
        world.settle();
        world.assertComplete();
      },
    ),
    { numRuns: Number(process.env['MODEL_RUNS'] ?? 400) },
  );
});
