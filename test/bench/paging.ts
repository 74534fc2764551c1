/**
 * Paging over a link between two network namespaces, encrypted: what a thread waits that touches a page which is still at
 * the source, how fast memory comes that nobody waits for, and how long a process takes to be rebuilt whose memory comes
 * later, for small and large memory.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ipv4Bytes } from '../../src/base/ipv4.ts';
import { summarise } from '../../src/base/stats.ts';
import type { FaultServiceOptions } from '../../src/paging/fault-service.ts';
import type { ServiceCounts } from '../../src/paging/service-times.ts';
import { warmEngine } from '../../src/sdaemon/migration/warm-engine.ts';
import { type Cage, NODE, PYTHON, program } from '../engine/support/cage.ts';
import { facts, files } from '../engine/support/engine.ts';
import { KeptProcess, startNode } from '../paging/support/killable-service.ts';
import { Moved } from '../paging/support/lazy-move.ts';
import { type Figure, single } from './figure.ts';

const SOURCE = { netns: 'crbench-pages', address: '10.199.0.1', link: 'crb-pages' };
const DESTINATION = { netns: 'crbench-faults', address: '10.199.0.2', link: 'crb-faults' };
const PORT = 7160;
const TOUCHES = 3000;
const TOUCHED_MS = 20_000;
/** What the touch of a page that is there takes at most: with the clock and the call around it. */
const PRESENT_MICROS = 6;
const ROUNDS = 7;
const MEMORY_MB = { small: 64, large: 1024 };

const ip = (...words: readonly string[]): void =>
  void execFileSync('ip', words, { stdio: ['ignore', 'ignore', 'pipe'] });

function makeLink(): void {
  for (const { netns } of [SOURCE, DESTINATION]) ip('netns', 'add', netns);
  ip(
    'link',
    'add',
    SOURCE.link,
    'netns',
    SOURCE.netns,
    'type',
    'veth',
    'peer',
    DESTINATION.link,
    'netns',
    DESTINATION.netns,
  );
  for (const { netns, address, link } of [SOURCE, DESTINATION]) {
    ip('-n', netns, 'address', 'add', `${address}/30`, 'dev', link);
    ip('-n', netns, 'link', 'set', link, 'up');
  }
}

function removeLink(): void {
  for (const { netns } of [SOURCE, DESTINATION])
    try {
      ip('netns', 'delete', netns);
    } catch {
      // It was not made.
    }
}

/** Pages from the other namespace while `run` works with the process. */
async function paged<T>(
  moved: Moved,
  service: Partial<FaultServiceOptions>,
  run: (cage: Cage, done: Promise<ServiceCounts>) => T | Promise<T>,
): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-bench-'));
  const key = randomBytes(32);
  const words = [new URL('../paging/programs/page-server.ts', import.meta.url).pathname];
  const source = startNode([...words, String(moved.pid), SOURCE.address, key.toString('hex')], SOURCE.netns);
  try {
    const [line] = (await Promise.race([once(source.stdout, 'data'), once(source, 'exit')])) as [Buffer | number];
    const server = { address: Buffer.from(ipv4Bytes(SOURCE.address)), port: Number(String(line)), key };
    const kept = new KeptProcess(moved.copy, join(directory, 'journal'), server, service, DESTINATION.netns);
    const faults = kept.start();
    await faults.running;
    moved.copy.restoring.run();
    try {
      return await run(moved.to, faults.done);
    } finally {
      await faults.kill();
      kept.close();
    }
  } finally {
    source.kill('SIGKILL');
    rmSync(directory, { recursive: true });
  }
}

const pages = (blocks: number): string[] => [
  PYTHON,
  join(import.meta.dirname, '../paging/programs/pages.py'),
  String(PORT),
  String(blocks),
];
const movedPages = (blocks: number): Promise<Moved> =>
  Moved.make(pages(blocks), (cage) => cage.askUntilAnswered(PORT, 'pid'));

/** A server with so many megabytes in one piece. */
const holder = (megabytes: number): string[] => [
  PYTHON,
  '-c',
  'import socket,sys\nkept=bytearray(b"known contents. "*(int(sys.argv[2])<<16))\n' +
    's=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.bind(("127.0.0.1",int(sys.argv[1])))\n' +
    'while True:\n  _,client=s.recvfrom(100);s.sendto(b"ready",client)',
  String(PORT),
  String(megabytes),
];

async function faultTimes(fillWindow: number): Promise<number[]> {
  await using moved = await movedPages(MEMORY_MB.small);
  return await paged(moved, { fillWindow }, (cage) => {
    const answer = cage.ask(PORT, `latency ${TOUCHES}`, TOUCHED_MS) ?? '[]';
    const micros = (JSON.parse(answer) as number[]).map((nanos) => nanos / 1000);
    return micros.filter((each) => each > PRESENT_MICROS);
  });
}

/** Megabytes a second into a process that touches nothing. */
async function fillRate(): Promise<number> {
  await using moved = await movedPages(MEMORY_MB.small * 4);
  return await paged(moved, {}, async (_cage, done) => {
    const begun = performance.now();
    const { filledPages, faultedPages } = await done;
    return ((filledPages + faultedPages) * 4096) / 1e6 / ((performance.now() - begun) / 1000);
  });
}

async function restoreTimes(argv: readonly string[], rounds: number): Promise<number[]> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    await using moved = await Moved.make(argv, (cage) => cage.askUntilAnswered(PORT, '2'));
    times.push(moved.copy.restoreMs);
    moved.copy.restoring.destroy();
  }
  return times;
}

export async function pagingFigures(): Promise<Figure[]> {
  removeLink();
  makeLink();
  try {
    warmEngine(facts, files);
    const alone = await faultTimes(0);
    const busy = await faultTimes(96);
    const rates: number[] = [];
    for (let round = 0; round < 3; round++) rates.push(await fillRate());
    const node = await restoreTimes([NODE, program('app.cjs'), String(PORT)], ROUNDS);
    const small = await restoreTimes(holder(MEMORY_MB.small), ROUNDS);
    const large = await restoreTimes(holder(MEMORY_MB.large), ROUNDS);
    const ratio = summarise(large).median / summarise(small).median;
    return [
      { name: 'page fault over the link', unit: 'µs', summary: summarise(alone), medianBar: 150, aim: '60' },
      { name: 'page fault over the link while memory streams in', unit: 'µs', summary: summarise(busy) },
      { name: 'memory in the background', unit: 'MB/s', summary: summarise(rates) },
      { name: 'rebuilt with memory missing: Node server', unit: 'ms', summary: summarise(node) },
      { name: `rebuilt with memory missing: ${MEMORY_MB.small} MB`, unit: 'ms', summary: summarise(small) },
      { name: `rebuilt with memory missing: ${MEMORY_MB.large} MB`, unit: 'ms', summary: summarise(large) },
      { name: 'the last two, ratio of medians', unit: '', summary: single(ratio), medianBar: 1.3 },
    ];
  } finally {
    removeLink();
  }
}
