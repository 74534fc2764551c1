/** Needs root. Tap, replay and gate together: two sandboxes in the same state, one of which must not be noticed. */
import assert from 'node:assert/strict';
import { promises } from 'node:fs';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { InputEntry, LogEntry } from '../../src/base/traffic-log.ts';
import { EgressCut } from '../../src/replication/egress-cut.ts';
import { Replay, type ReplayStatus } from '../../src/replication/replay.ts';
import { TrafficTap } from '../../src/replication/tap.ts';
import { LINK_NAME, SANDBOX_ADDRESS } from '../dataplane/support.ts';
import { needs } from '../support/needs.ts';
import {
  leadTo,
  makeWorld,
  PORT,
  type Program,
  Pump,
  socketsOf,
  stamping,
  start,
  stop,
  until,
  type World,
} from './support.ts';

describe('replication', { skip: needs('root') }, () => {
  let undone: (() => void)[] = [];
  const undo = (step: () => void): void => void undone.push(step);
  let endStamping: () => void;
  before(async () => {
    endStamping = await stamping();
  });
  after(() => endStamping());
  beforeEach(async () => void (await promises.stat('/')));
  afterEach(() => {
    for (const step of undone.reverse()) step();
    undone = [];
  });

  async function twoServers(world: World, ...args: (string | number)[]) {
    const original = await start(undo, world.source.sandbox, 'counting-server', args);
    const copy = await start(undo, world.destination.sandbox, 'counting-server', args);
    return { original, copy };
  }

  function replicate(world: World, original: Program, copy: Program, uncomparedPorts: readonly number[] = []) {
    const sockets = socketsOf(undo, original);
    const tap = TrafficTap.open({ pid: original.pid, linkName: 'eth0', address: SANDBOX_ADDRESS, sockets });
    undo(() => tap.close());
    const vm = { path: `/proc/self/fd/${world.destination.netns}` };
    const replay = new Replay({ pid: copy.pid, linkName: 'eth0', vm, vmLinkName: LINK_NAME, uncomparedPorts });
    undo(() => replay.close());
    replay.attach(socketsOf(undo, copy));
    return { tap, replay, sockets };
  }

  const resultOf = async ({ lines }: Program) => JSON.parse((await lines.next()).value as string);

  type Source = {
    readonly original: Program;
    readonly tap: TrafficTap;
    readonly replay: Replay;
    readonly pump: Pump;
    readonly cut: EgressCut;
  };

  /** S is cut off, its log ended; and the copy has reproduced all of it. */
  async function cutOver({ original, tap, replay, pump, cut }: Source) {
    await pump.stop();
    cut.cut();
    cut.settle();
    if (tap.isHalfOut) {
      await stop(original);
      cut.restore();
      await until('what waited has left', () => cut.isEmpty);
      cut.cut();
      cut.settle();
    }
    const end = tap.finish();
    await stop(original);
    await until('the log is reproduced', () => {
      pump.turn();
      const { expected, compared, silenced } = replay.status();
      return expected === 0 && compared + silenced >= end.outputs;
    });
    return end;
  }

  for (const bytes of [32, 4000])
    test(`all is compared, and from the release on the copy answers, each request once: ${bytes} bytes`, async () => {
      const world = makeWorld(undo);
      const { original, copy } = await twoServers(world, PORT);
      const { tap, replay, sockets } = replicate(world, original, copy);
      using cut = new EgressCut({ pid: original.pid }, 'eth0');
      cut.prepare();
      // Some requests wait when the log begins.
      await stop(original);
      const client = await start(undo, world.client.netns, 'client', [SANDBOX_ADDRESS, PORT, 2000, 8000, bytes, 500]);
      await sleep(200);
      tap.mark(sockets);
      original.child.kill('SIGCONT');
      const pump = new Pump(tap, replay);
      await until('half of it is compared', () => replay.status().compared > 3000);
      const { outputs } = await cutOver({ original, tap, replay, pump, cut });
      assert.deepEqual([replay.status().difference, replay.status().compared], [undefined, outputs]);
      replay.release();
      replay.open();
      const stragglers = new Pump(tap, replay);
      // S still gets them for a while, and nobody there reads.
      await sleep(100);
      leadTo(world, 'destination');
      const result = await resultOf(client);
      await stragglers.stop();
      assert.equal(tap.outputsAfterFinish, 0);
      assert.deepEqual(result, { sent: 8000, lost: 0, duplicated: 0, processedTwice: 0, overtaken: 0, refused: 0 });
    });

  test('several sockets, several clients at once', async () => {
    const world = makeWorld(undo);
    const ports = [7000, 7001, 7002];
    const { original, copy } = await twoServers(world, ...ports);
    const { tap, replay, sockets } = replicate(world, original, copy);
    using cut = new EgressCut({ pid: original.pid }, 'eth0');
    cut.prepare();
    await stop(original);
    const clients = await Promise.all(
      ports.map((port) => start(undo, world.client.netns, 'client', [SANDBOX_ADDRESS, port, 700, 2000, 32, 500])),
    );
    await sleep(50);
    tap.mark(sockets);
    original.child.kill('SIGCONT');
    const pump = new Pump(tap, replay);
    await until('a part of it is compared', () => replay.status().compared > 2000);
    await cutOver({ original, tap, replay, pump, cut });
    replay.release();
    replay.open();
    leadTo(world, 'destination');
    const stragglers = new Pump(tap, replay);
    const results = await Promise.all(clients.map((client) => resultOf(client)));
    await stragglers.stop();
    for (const result of results)
      assert.deepEqual(result, { sent: 2000, lost: 0, duplicated: 0, processedTwice: 0, overtaken: 0, refused: 0 });
  });

  /** The original answers throughout, whatever becomes of a copy that gets a changed log. */
  async function undisturbed(
    args: readonly (string | number)[],
    change: (entry: LogEntry) => LogEntry | undefined,
    happened: (status: ReplayStatus) => boolean,
    uncomparedPorts: readonly number[] = [],
  ): Promise<Replay> {
    const world = makeWorld(undo);
    const { original, copy } = await twoServers(world, ...args);
    const { tap, replay, sockets } = replicate(world, original, copy, uncomparedPorts);
    tap.mark(sockets);
    const client = await start(undo, world.client.netns, 'client', [SANDBOX_ADDRESS, PORT, 1000, 1000, 32, 300]);
    const pump = new Pump(tap, replay, change);
    await until('it has happened', () => happened(replay.status()));
    const result = await resultOf(client);
    await pump.stop();
    assert.deepEqual(result, { sent: 1000, lost: 0, duplicated: 0, processedTwice: 0, overtaken: 0, refused: 0 });
    return replay;
  }

  const same = (entry: LogEntry): LogEntry => entry;
  const differs = ({ difference }: ReplayStatus): boolean => difference !== undefined;

  test('answers that tell the time differ: the copy is not released, and nobody outside has noticed', async () => {
    const replay = await undisturbed([PORT, 'clock'], same, differs);
    const { difference } = replay.status();
    assert.deepEqual([difference?.index, difference?.flow.localPort, difference?.source.length], [0, PORT, 40]);
    assert.throws(() => replay.release(), { code: 'replication.diverged', message: /answer 0 of 10\.88\.0\.5:7000/ });
    replay.discard();
  });

  test('a port that is declared uncompared is silent, whatever it says', async () => {
    const all = ({ silenced }: ReplayStatus): boolean => silenced === 1000;
    const replay = await undisturbed([PORT, 'clock'], same, all, [PORT]);
    const { expected, held, compared, difference } = replay.status();
    assert.deepEqual(
      { expected, held, compared, difference },
      { expected: 0, held: 0, compared: 0, difference: undefined },
    );
    assert.equal(replay.release(), 0);
    replay.open();
  });

  test('a position that is off by one is noticed', async () => {
    const late = (entry: LogEntry): LogEntry | undefined => {
      if (entry.kind === 'output') return entry;
      return entry.index === 0 ? undefined : { ...entry, index: entry.index - 1 };
    };
    await undisturbed([PORT], late, differs);
  });

  test('an order that is not the original one is noticed', async () => {
    let kept: InputEntry | undefined;
    const swapped = (entry: LogEntry): LogEntry => {
      if (entry.kind === 'output' || (entry.index !== 100 && entry.index !== 101)) return entry;
      // The second one twice: the first is missing then, as if it had come later.
      kept ??= entry;
      return { ...kept, index: entry.index };
    };
    await undisturbed([PORT], swapped, differs);
  });

  test('a copy that is discarded is not heard, and the original goes on', async () => {
    const replay = await undisturbed([PORT], same, ({ compared }) => compared > 500);
    replay.discard();
    assert.equal(replay.step(), false);
  });
});
