/** Needs root. Tap, replay and gate together: two sandboxes in the same state, one of which must not be noticed. */
import assert from 'node:assert/strict';
import { promises } from 'node:fs';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { EgressCut } from '../../src/replication/egress-cut.ts';
import { Replay } from '../../src/replication/replay.ts';
import { TrafficTap } from '../../src/replication/tap.ts';
import { LINK_NAME, SANDBOX_ADDRESS } from '../dataplane/support.ts';
import { needs } from '../support/needs.ts';
import { leadTo, makeWorld, PORT, type Program, Pump, socketsOf, start, stop, until, type World } from './support.ts';

describe('replication', { skip: needs('root') }, () => {
  let undone: (() => void)[] = [];
  const undo = (step: () => void): void => void undone.push(step);
  beforeEach(async () => void (await promises.stat('/')));
  afterEach(() => {
    for (const step of undone.reverse()) step();
    undone = [];
  });

  async function twoServers(world: World, manner = ''): Promise<{ original: Program; copy: Program }> {
    const original = await start(undo, world.source.sandbox, 'counting-server', [PORT, manner]);
    const copy = await start(undo, world.destination.sandbox, 'counting-server', [PORT, manner]);
    return { original, copy };
  }

  function replicate(world: World, original: Program, copy: Program) {
    const sockets = socketsOf(undo, original);
    const tap = TrafficTap.open({ pid: original.pid, linkName: 'eth0', address: SANDBOX_ADDRESS, sockets });
    undo(() => tap.close());
    const vm = { path: `/proc/self/fd/${world.destination.netns}` };
    const replay = new Replay({ pid: copy.pid, linkName: 'eth0', vm, vmLinkName: LINK_NAME });
    undo(() => replay.close());
    replay.attach(socketsOf(undo, copy));
    return { tap, replay, sockets };
  }

  const resultOf = async ({ lines }: Program) => JSON.parse((await lines.next()).value as string);

  test('everything is compared, and from the release on the copy answers, each request once', async () => {
    const world = makeWorld(undo);
    const { original, copy } = await twoServers(world);
    const { tap, replay, sockets } = replicate(world, original, copy);
    using cut = new EgressCut({ pid: original.pid }, 'eth0');
    await stop(original);
    const client = await start(undo, world.client.netns, 'client', [SANDBOX_ADDRESS, PORT, 2000, 8000, 100, 500]);
    await new Promise((resolve) => setTimeout(resolve, 200));
    tap.mark(sockets);
    original.child.kill('SIGCONT');
    const pump = new Pump(tap, replay);
    await until('half of it is compared', () => replay.status().compared > 3000);
    await pump.stop();
    const { inputs, outputs } = await cutOver();
    assert.equal(replay.status().difference, undefined);
    assert.equal(replay.status().compared, outputs);
    const held = replay.release();
    assert.equal(tap.outputsAfterFinish, 0);
    const stragglers = new Pump(tap, replay);
    await new Promise((resolve) => setTimeout(resolve, 100));
    leadTo(world, 'destination');
    const result = await resultOf(client);
    await stragglers.stop();
    assert.deepEqual(result, { sent: 8000, lost: 0, duplicated: 0, processedTwice: 0, overtaken: 0, refused: 0 });
    assert.ok(inputs >= outputs && held >= 0);

    async function cutOver() {
      await stop(original);
      cut.cut();
      const end = tap.finish();
      await until('the log is reproduced', () => {
        pump.turn();
        const { expected, compared } = replay.status();
        return expected === 0 && compared >= end.outputs;
      });
      return end;
    }
  });
});
