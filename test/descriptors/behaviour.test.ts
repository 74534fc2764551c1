/** Needs root, /usr/bin/python3 and util-linux. What a comparison of states cannot show. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { ComicranError } from '../../src/base/errors.ts';
import { captureDescriptors } from '../../src/checkpoint/descriptors/capture.ts';
import { inspectDescriptors } from '../../src/checkpoint/descriptors/inspect.ts';
import type { DescriptorTableImage, TimerfdImage } from '../../src/image/descriptors/types.ts';
import { O } from '../../src/linux/open-flags.ts';
import { closeDescriptor } from '../../src/linux/pidfd.ts';
import { listThreads } from '../../src/linux/procfs.ts';
import { RootDirectory } from '../../src/linux/root-directory.ts';
import type { RemoteCall, Tracee } from '../../src/linux/tracee.ts';
import { recreateDescriptors } from '../../src/restore/descriptors/recreate.ts';
import { needs } from '../support/needs.ts';
import { drainContents } from './contents.ts';
import { describeDescriptors, describeSharing } from './describe.ts';
import { type Running, startNode, startStopped, startVessel, stop, until, type Vessel } from './processes.ts';

const DIRECTORY = `/dev/shm/comicran-test-behaviour-${process.pid}`;
const INHERITED = new Map([
  ['stdout', 1],
  ['stderr', 2],
]);

const capture = ({ pid, pidfd, inherited }: Running): DescriptorTableImage =>
  captureDescriptors({ pid, pidfd, threads: listThreads(pid), inherited });
const recreate = ({ tracee }: Vessel, table: DescriptorTableImage): void =>
  recreateDescriptors({ tracee, inherited: INHERITED }, table);
const timers = (table: DescriptorTableImage): TimerfdImage[] =>
  table.descriptions.filter((image) => image.kind === 'timerfd');

describe('descriptors, their behaviour', { skip: needs('root', 'python3', 'unshare', 'ip') }, () => {
  let running: { readonly end: () => void }[] = [];
  const started = <T extends { readonly end: () => void }>(one: T): T => {
    running.push(one);
    return one;
  };
  beforeEach(() => mkdirSync(DIRECTORY));
  afterEach(() => {
    for (const one of running) one.end();
    running = [];
    rmSync(DIRECTORY, { recursive: true, force: true });
  });

  test('a Node process: seen while it runs, captured while it is stopped, recreated in few stops', () => {
    const source = started(
      startNode(`
        const { Worker } = require('node:worker_threads');
        const fs = require('node:fs');
        const socket = require('node:dgram').createSocket('udp4');
        const worker = new Worker("require('node:worker_threads').parentPort.postMessage(1); setInterval(() => {}, 1000)", { eval: true });
        worker.on('message', () => socket.bind(5006, () => fs.stat('/', () => console.log('ready'))));
      `),
    );
    const { pid, pidfd, inherited } = source;
    const kinds = inspectDescriptors({ pid, pidfd, threads: listThreads(pid), inherited });
    stop(source);
    const before = describeDescriptors(pid);
    const table = capture(source);
    assert.deepEqual(describeDescriptors(pid), before);
    assert.deepEqual(
      kinds,
      table.descriptors.map(({ number, description }) => ({ number, kind: table.descriptions[description]!.kind })),
    );
    assert.ok(
      table.descriptors.length > 15,
      `a Node process has many descriptors, this one ${table.descriptors.length}`,
    );

    const vessel = started(startVessel());
    const { tracee, stops } = counting(vessel.tracee);
    recreateDescriptors({ tracee, inherited: INHERITED }, table);
    assert.deepEqual(describeDescriptors(vessel.pid), before);
    assert.deepEqual(describeSharing(vessel.pid), describeSharing(pid));
    assert.deepEqual(drainContents(vessel.pid), drainContents(pid));
    assert.ok(stops() <= 3, `${stops()} stops`);
  });

  test('a periodic timer goes on counting: nothing that expired before the capture is forgotten', () => {
    const source = started(startStopped('settime(timerfd(1), 1000000, 20000000); time.sleep(0.13)'));
    const [captured] = timers(capture(source));
    // 1 ms, 21 ms, … 121 ms have passed for certain.
    assert.ok(captured!.ticks >= 7n, `${captured!.ticks} ticks`);
    assert.ok(captured!.remaining > 0n && captured!.remaining <= 20_000_000n);
    const vessel = started(startVessel());
    recreate(vessel, { ...capture(source) });
    const ticks = (): bigint => timers(capture(vessel))[0]!.ticks;
    until('it expires again', () => ticks() > captured!.ticks + 2n);
  });

  test('a timer that was set to a time of day keeps that time, any other one what remained', () => {
    const hour = 3600n * 1_000_000_000n;
    const source = started(
      startStopped(`t = timerfd(0); settime(t, time.time_ns() + ${hour}, 0, 1); settime(timerfd(1), ${hour})`),
    );
    const table = capture(source);
    until('a moment', () => timers(capture(source))[1]!.remaining < timers(table)[1]!.remaining - 50_000_000n);
    const vessel = started(startVessel());
    recreate(vessel, table);
    const [wall, relative] = timers(capture(vessel));
    const difference = wall!.expiry - timers(table)[0]!.expiry;
    // The two clocks are read one after the other: what lies between is not the timer's.
    assert.ok(difference > -40_000_000n && difference < 40_000_000n, `moved by ${difference} ns`);
    const later = timers(capture(source));
    assert.ok(relative!.remaining > later[1]!.remaining, 'the time of the move was taken off');
  });

  test('capturing again and again finds the same', () => {
    const source = started(
      startStopped('r, w = os.pipe(); os.write(w, b"abc"); a, b = socket.socketpair(); a.send(b"x")'),
    );
    const first = capture(source);
    for (let round = 0; round < 20; round++) assert.deepEqual(capture(source), first);
  });

  test('an image that does not fit this machine is refused by descriptor, and nothing is left behind', () => {
    const source = started(
      startStopped(`f = os.open('${DIRECTORY}/unlinked', os.O_CREAT | os.O_RDWR); os.unlink('${DIRECTORY}/unlinked')
os.write(f, b'abc'); os.open('/proc/sys/kernel/ostype', 0); s = udp(); s.bind(('127.0.0.1', 5006))`),
    );
    const table = capture(source);
    const changed = (index: number, change: object): DescriptorTableImage => ({
      ...table,
      descriptions: table.descriptions.map((image, at) => (at === index ? { ...image, ...change } : image)),
    });
    const at = (kind: string): number => table.descriptions.findLastIndex((image) => image.kind === kind);
    const open = readdirSync('/proc/self/fd').length;
    const cases: readonly (readonly [DescriptorTableImage, RegExp])[] = [
      [changed(at('file'), { path: '/nowhere/to/be/found' }), /descriptor 4 .*open \/nowhere\/to\/be\/found.*ENOENT/],
      [changed(at('file'), { size: 77n }), /descriptor 4 .*ostype has 0 bytes here and 77 at the source/],
      [changed(at('file'), { fileType: 'directory' }), /descriptor 4 .*ostype is not a directory file here/],
      [changed(at('device'), { minor: 5 }), /descriptor 0 .*\/dev\/null is device 1:3 here/],
      [changed(at('inherited'), { name: 'journal' }), /descriptor 2 .*nothing called 'journal' is inherited here/],
      [
        changed(at('udp-socket'), { options: [{ level: 1, option: 99, value: Buffer.alloc(4) }] }),
        /descriptor 5 .*options that are not known/,
      ],
      [
        changed(at('udp-socket'), { options: [{ level: 1, option: 25, value: Buffer.from('eth9\0') }] }),
        /descriptor 5 .*SO_BINDTODEVICE.*ENODEV/,
      ],
      [
        changed(at('udp-socket'), {
          local: { address: Buffer.from([203, 0, 113, 7]), port: 5006, scope: '', flowInfo: 0 },
        }),
        /descriptor 5 .*bind it to port 5006: bind: EADDRNOTAVAIL/,
      ],
    ];
    for (const [image, text] of cases) {
      const vessel = started(startVessel());
      assert.throws(
        () => recreate(vessel, image),
        (error: unknown) =>
          error instanceof ComicranError && error.code === 'process.unsupported' && text.test(error.message),
      );
      vessel.end();
      assert.deepEqual(readdirSync(DIRECTORY), [], 'a temporary file was left');
      assert.equal(readdirSync('/proc/self/fd').length, open, 'a descriptor was left open');
    }
  });

  test('paths are those inside the root of the process, and no symbolic link leads out of it', () => {
    const root = `${DIRECTORY}/root`;
    const source = started(
      startStopped(`os.makedirs('${root}/data'); os.symlink('/', '${root}/absolute'); os.symlink('../../../..', '${root}/relative')
os.chroot('${root}'); os.open('/data/file', os.O_CREAT | os.O_RDWR)`),
    );
    const file = capture(source).descriptions.find((image) => image.kind === 'file');
    assert.equal(file?.path, '/data/file');
    using directory = new RootDirectory(source.pid);
    for (const link of ['absolute', 'relative']) {
      const path = `/${link}/comicran-test-${link}/file`;
      directory.makeParents(path);
      closeDescriptor(directory.open(path, O.CREAT | O.WRONLY, 0o600));
      assert.ok(existsSync(`${root}/comicran-test-${link}/file`));
      assert.ok(!existsSync(`/comicran-test-${link}`));
    }
  });
});

/** A tracee that counts how often the process is let run for calls. */
function counting(tracee: Tracee): { tracee: Tracee; stops: () => number } {
  let count = 0;
  const counted = Object.create(tracee, {
    process: { value: tracee.process },
    agent: { get: () => tracee.agent },
    batch: {
      value: (calls: readonly RemoteCall[]) => {
        count++;
        return tracee.batch(calls);
      },
    },
  }) as Tracee;
  return { tracee: counted, stops: () => count };
}
