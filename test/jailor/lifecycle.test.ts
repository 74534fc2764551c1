/** Created, running, frozen, restarted, given up, unhealthy: what a jailor in the background does by itself. Needs root. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FullConfig } from '../../src/base/sandbox-config.ts';
import {
  ControlClient,
  cleanStale,
  forgetSandbox,
  readSandboxState,
  type SandboxState,
  sandboxPaths,
  startSandbox,
} from '../../src/jailor/index.ts';
import { cgroupProcesses } from '../../src/linux/cgroup.ts';
import { isFrozen } from '../../src/linux/cgroup-frozen.ts';
import { isAlive } from '../../src/linux/process-identity.ts';
import { hatch } from './hatch.ts';
import { inVm, leavesNothing, needs, testConfig } from './support.ts';

const ID = 'jailtest';
type Change = Partial<FullConfig>;

describe('the life of a sandbox', { skip: needs, timeout: 180_000 }, () => {
  const state = inVm();
  const clients: ControlClient[] = [];

  leavesNothing(state, async () => {
    for (const client of clients.splice(0)) {
      await client.terminate({ graceMs: 0 }).catch(() => undefined);
      while (isAlive(client.state.jailor)) await sleep(5);
    }
    await forgetSandbox(state.path, ID);
  });

  async function start(script: string, change: Change = {}, options: object = {}): Promise<ControlClient> {
    const config = testConfig({ script, change });
    const client = await startSandbox({ stateDirectory: state.path, config, ...options });
    clients.push(client);
    return client;
  }
  const lines = (): string[] =>
    readFileSync(sandboxPaths(state.path, ID).log, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => (JSON.parse(line) as { line: string }).line);
  async function logged(line: string, times = 1): Promise<void> {
    while (lines().filter((one) => one === line).length < times) await sleep(5);
  }
  const running = ({ phase }: SandboxState): boolean => phase === 'running';
  const ends = (client: ControlClient): Promise<SandboxState> =>
    client.waitFor(({ phase }) => phase === 'exited').catch(() => readSandboxState(state.path, ID));

  test('a created one has everything but its process, until it is started', async () => {
    const client = await start('echo begun; exec sleep 1000', {}, { created: true });
    assert.deepEqual([client.state.phase, client.state.process], ['created', null]);
    await assert.rejects(client.freeze(), { code: 'sandbox.not-running' });
    await assert.rejects(client.setMoving(true), { code: 'sandbox.not-running' });
    const { phase, process: root, hatchery, restarts } = await client.run();
    assert.deepEqual([phase, hatchery, restarts.count], ['running', null, 0]);
    await logged('begun');
    assert.ok(root !== null && isAlive(root));
    await assert.rejects(client.run(), { code: 'sandbox.not-running' });
    const { exit } = await client.terminate({ graceMs: 5_000 });
    assert.deepEqual(exit, { reason: 'terminated', code: null, signal: 'SIGTERM' });
  });

  test('who asks for one that has ended, or that there is not, is told so, with the next step', async () => {
    const client = await start('exec sleep 1000');
    await client.terminate({ graceMs: 0 });
    while (isAlive(client.state.jailor)) await sleep(5);
    await assert.rejects(ControlClient.connect(state.path, ID), {
      ...{ code: 'sandbox.not-running', message: `the sandbox '${ID}' has ended` },
      hint: new RegExp(`'comicran jailor remove ${ID} --state `),
    });
    await assert.rejects(ControlClient.connect(state.path, 'jailtset'), {
      ...{ code: 'sandbox.unknown', message: `there is no sandbox 'jailtset' in ${state.path}` },
      hint: new RegExp(`^Did you mean '${ID}'\\? Known are: ${ID}\\.`),
    });
  });

  test('a state directory by a path that is not absolute is the same one', async () => {
    const client = await start('exec sleep 1000', {}, { stateDirectory: relative('', state.path) });
    assert.equal(readSandboxState(state.path, ID).phase, 'running');
    assert.equal((await client.terminate({ graceMs: 0 })).exit?.reason, 'terminated');
  });

  test('a created one that cannot be started says why and stays; it can be ended', async () => {
    const { process: spec } = testConfig({});
    const change = { process: { ...spec, workingDirectory: '/dev/absent' } };
    const client = await start('', change, { created: true });
    await assert.rejects(client.run(), { code: 'sandbox.setup-failed', message: /absent/ });
    assert.equal(client.state.phase, 'created');
    assert.equal((await client.terminate({ graceMs: 0 })).exit?.reason, 'terminated');
  });

  test('a frozen one does nothing until it is let run, or told to end', async () => {
    const client = await start('while :; do echo on; sleep 0.01; done');
    await logged('on');
    const frozen = await client.freeze();
    assert.equal(frozen.frozen, true);
    assert.ok(isFrozen(frozen.cgroup!));
    // Its last lines may still be on their way to the log.
    let before = -1;
    for (const deadline = performance.now() + 30_000; lines().length !== before; await sleep(200)) {
      assert.ok(performance.now() < deadline, 'it goes on');
      before = lines().length;
    }
    await assert.rejects(client.setMoving(true), { code: 'migration.refused', message: /is frozen/ });
    await assert.rejects(client.admitGuest(), { code: 'sandbox.not-running', message: /is frozen/ });
    assert.equal((await client.thaw()).frozen, false);
    await logged('on', before + 3);
    await client.freeze();
    assert.deepEqual((await client.terminate({ graceMs: 5_000 })).exit, {
      reason: 'terminated',
      code: null,
      signal: 'SIGTERM',
    });
  });

  test('on failure it is started again, with growing delays, and given up in the end', async () => {
    const client = await start('echo run; sleep 500 & exit 3', {
      restart: { policy: 'on-failure', max: 3, backoffMs: 20, longestBackoffMs: 50 },
    });
    const phases: string[] = [];
    client.onState(({ phase, restarts }) => phases.push(`${phase} ${restarts.count}`));
    const { exit, restarts } = await ends(client);
    assert.deepEqual(exit, { reason: 'ended', code: 3, signal: null });
    assert.deepEqual([restarts.count, restarts.gaveUp], [3, true]);
    assert.deepEqual(restarts.last, exit);
    assert.equal(lines().filter((line) => line === 'run').length, 4);
    for (const one of ['restarting 2', 'running 3', 'exited 3'])
      assert.ok(phases.includes(one), `${one} in ${phases.join(', ')}`);
  });

  test('what a run has left is ended before the next begins; the end that is asked for is no failure', async () => {
    const client = await start(
      'echo run; test -e /tmp/again && exec sleep 1000; touch /tmp/again; sleep 1000 & sleep 1000 & exit 1',
      { restart: { policy: 'always', backoffMs: 10 } },
    );
    await logged('run', 2);
    await client.waitFor((one) => running(one) && one.restarts.count === 1);
    const { cgroup, init, process: root } = client.state;
    assert.deepEqual(cgroupProcesses(cgroup!).toSorted(), [init!.pid, root!.pid].toSorted());
    const { exit, restarts } = await client.terminate({ graceMs: 5_000 });
    assert.deepEqual([exit?.reason, restarts.count, restarts.gaveUp], ['terminated', 1, false]);
  });

  test('one that waits for its restart can be ended, and is not moved', async () => {
    const client = await start('exit 7', {
      restart: { policy: 'always', backoffMs: 3_600_000, longestBackoffMs: 3_600_000 },
    });
    await client.waitFor(({ phase }) => phase === 'restarting');
    await assert.rejects(client.setMoving(true), {
      code: 'migration.refused',
      message: /started again in 3600 s \(restart 1\)/,
    });
    await assert.rejects(client.freeze(), { code: 'sandbox.not-running' });
    const { exit } = await client.terminate({ graceMs: 1_000 });
    assert.deepEqual(exit, { reason: 'terminated', code: 7, signal: null });
  });

  test('a process that ends while a migration has it is not started again; nor is a released one', async () => {
    const policy = { restart: { policy: 'always', backoffMs: 1 } } as const;
    const client = await start('exec sleep 1000', policy);
    await client.setMoving(true);
    await assert.rejects(client.freeze(), { code: 'migration.busy' });
    await assert.rejects(client.admitGuest(), { code: 'migration.busy' });
    process.kill(client.state.process!.pid, 'SIGKILL');
    const { exit, restarts } = await ends(client);
    assert.deepEqual([exit, restarts.count], [{ reason: 'ended', code: null, signal: 'SIGKILL' }, 0]);
    const second = await start('exec sleep 1000', policy);
    await second.setMoving(true);
    await second.setMoving(false);
    process.kill(second.state.process!.pid, 'SIGKILL');
    await second.waitFor((one) => running(one) && one.restarts.count === 1);
    assert.equal((await second.release()).exit?.reason, 'released');
  });

  test('a process that has come from elsewhere keeps its count, and is restarted where it is now', async () => {
    const client = await start(
      'echo begun; exec sleep 1000',
      { restart: { policy: 'on-failure', backoffMs: 5 } },
      { skeleton: { hatcheryPid: 31_000 }, restartCount: 4 },
    );
    assert.equal(client.state.restarts.count, 4);
    await client.adopt(hatch(client.state.hatchery!.pid, 3));
    process.kill(client.state.process!.pid, 'SIGKILL');
    const { restarts } = await client.waitFor((one) => running(one) && one.restarts.count === 5);
    assert.equal(restarts.last?.signal, 'SIGKILL');
    await logged('begun');
  });

  test('out of memory is a failure with a name', async () => {
    const client = await start('exec cat /dev/zero > /tmp/all', {
      limits: { memory: 24 * 2 ** 20 },
      writable: ['/tmp'],
      restart: { policy: 'on-failure', max: 1, backoffMs: 1 },
    });
    const { exit, restarts } = await ends(client);
    assert.deepEqual([exit?.reason, exit?.signal, restarts.gaveUp], ['out-of-memory', 'SIGKILL', true]);
  });

  test('a killed jailor takes a frozen sandbox and one that waits for its restart with it', async () => {
    for (const phase of ['running', 'restarting'] as const) {
      const client = await start(phase === 'running' ? 'exec sleep 1000' : 'exit 1', {
        restart: { policy: 'always', backoffMs: 3_600_000, longestBackoffMs: 3_600_000 },
      });
      await client.waitFor((one) => one.phase === phase);
      if (phase === 'running') await client.freeze();
      process.kill(client.state.jailor.pid, 'SIGKILL');
      await client.closed;
      const { cleaned, failures } = await cleanStale(state.path);
      assert.deepEqual([failures, cleaned[0]?.state?.exit?.reason], [[], 'jailor-lost']);
      assert.equal(cleaned[0]?.state?.frozen, false);
    }
  });

  test('health: starting, healthy, unhealthy, and started again for it', async () => {
    const client = await start('echo begun; exec sleep 1000', {
      restart: { policy: 'on-failure', backoffMs: 5 },
      health: {
        command: ['/bin/sh', '-c', 'test -e /tmp/ill && { rm /tmp/ill; exit 1; }; exit 0'],
        ...{ intervalMs: 30, timeoutMs: 5_000, retries: 1, restart: true },
      },
      process: { ...testConfig({ script: 'echo begun; touch /tmp/$$.begun; exec sleep 1000' }).process },
    });
    assert.equal(client.state.health?.status, 'starting');
    await client.waitFor(({ health }) => health?.status === 'healthy');
    await client.freeze();
    const { health } = client.state;
    await sleep(200);
    assert.deepEqual(client.state.health, health, 'a frozen one is not looked at');
    await client.thaw();
    await client.setMoving(true);
    assert.equal(cgroupProcesses(client.state.cgroup!).length, 2);
    await client.setMoving(false);
  });

  test('health by a datagram; one that does not answer is unhealthy and runs on where nothing else is asked for', async () => {
    const answer = 'exec socat UDP4-RECVFROM:5006,fork EXEC:cat';
    const health = { udp: { port: 5006, send: 'well?', expect: 'well' }, intervalMs: 20, timeoutMs: 300, retries: 2 };
    const client = await start(answer, { health });
    await client.waitFor((one) => one.health?.status === 'healthy');
    await client.terminate({ graceMs: 0 });
    const silent = await start('exec sleep 1000', { health });
    const { health: found, phase } = await silent.waitFor((one) => one.health?.status === 'unhealthy');
    assert.equal(phase, 'running');
    assert.ok((found?.failures ?? 0) >= 2 && found?.problem !== null, JSON.stringify(found));
  });

  test('an unhealthy one is ended and started again', async () => {
    const client = await start('echo begun; exec sleep 1000', {
      restart: { policy: 'on-failure', max: 1, backoffMs: 5 },
      health: { command: ['/bin/sh', '-c', 'exit 4'], intervalMs: 10, retries: 2, restart: true },
    });
    const { exit, restarts } = await ends(client);
    assert.equal(exit?.reason, 'unhealthy');
    assert.deepEqual([restarts.count, restarts.gaveUp, restarts.last?.reason], [1, true, 'unhealthy']);
    assert.equal(lines().filter((line) => line === 'begun').length, 2);
  });
});
