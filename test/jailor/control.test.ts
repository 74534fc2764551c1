/** Sandboxes in the background: control socket, state file, log, skeletons. Needs root. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ComicranError } from '../../src/base/errors.ts';
import {
  ControlClient,
  cleanStale,
  forgetSandbox,
  type LogLine,
  listSandboxes,
  readSandboxState,
  type SandboxState,
  sandboxPaths,
  startSandbox,
} from '../../src/jailor/index.ts';
import { readOffloads } from '../../src/linux/ethtool.ts';
import { readOnce } from '../../src/linux/file-descriptors.ts';
import { closeFd, inNetns, openNetns } from '../../src/linux/netns.ts';
import { closeDescriptor, getDescriptor } from '../../src/linux/pidfd.ts';
import { identifyProcess, isAlive, parentPid } from '../../src/linux/process-identity.ts';
import {
  getLink,
  listAddresses,
  listNeighbours,
  listRoutes,
  lookUpRoute,
  RouteSocket,
} from '../../src/linux/rtnetlink/index.ts';
import { openWake, signalWake } from '../../src/linux/wake.ts';
import { hatch } from './hatch.ts';
import { inVm, largeConfig, leavesNothing, needs, testConfig } from './support.ts';

const ID = 'jailtest';
const HATCHERY_PID = 31_000;

describe('a sandbox in the background', { skip: needs, timeout: 180_000 }, () => {
  const state = inVm();

  leavesNothing(state, async () => {
    await jailorsGone();
    await forgetSandbox(state.path, ID);
  });

  const jailors = new Set<SandboxState['jailor']>();
  /** A jailor that has said everything still has to end; one that a failed test has left is ended. */
  async function jailorsGone(): Promise<void> {
    for (const jailor of jailors) {
      for (let waitedMs = 0; isAlive(jailor); waitedMs += 5) {
        if (waitedMs === 5_000) process.kill(jailor.pid, 'SIGKILL');
        await sleep(5);
      }
    }
    jailors.clear();
  }
  async function start(script: string, skeleton = false): Promise<ControlClient> {
    const config = testConfig({ script });
    const client = await startSandbox({
      stateDirectory: state.path,
      config,
      ...(skeleton ? { skeleton: { hatcheryPid: HATCHERY_PID } } : {}),
    });
    jailors.add(client.state.jailor);
    return client;
  }
  const paths = () => sandboxPaths(state.path, ID);
  const log = (): LogLine[] =>
    readFileSync(paths().log, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  async function logged(line: string): Promise<void> {
    while (!log().some((one) => one.line === line)) await sleep(5);
  }

  test('what a daemon lets it keep is there for the next one, until it is dropped or the sandbox ends', async () => {
    const client = await start('exec sleep 60');
    const { jailor } = client.state;
    const descriptor = openWake();
    const copies: number[] = [];
    const open = (number: number): boolean => existsSync(`/proc/${jailor.pid}/fd/${number}`);
    try {
      assert.deepEqual((await client.keep('first', descriptor)).kept.length, 1);
      await client.keep('second', descriptor);
      const { kept } = await client.keep('first', descriptor);
      assert.deepEqual(
        kept.map(({ name }) => name),
        ['second', 'first'],
      );
      assert.deepEqual(readSandboxState(state.path, ID).kept, kept, 'the next daemon reads it');
      signalWake(descriptor);
      const copy = getDescriptor(jailor.pid, kept[1]!.descriptor);
      copies.push(copy);
      assert.equal(readOnce(copy, Buffer.alloc(8)), 8, 'it is the same open file');
      assert.deepEqual((await client.drop('second')).kept, [kept[1]]);
      assert.equal(open(kept[0]!.descriptor), false);
      assert.equal(open(kept[1]!.descriptor), true);
      assert.deepEqual((await client.drop('nobody')).kept, [kept[1]]);
      await assert.rejects(client.keep('third', 10_000), (error) => (error as ComicranError).code === 'process.gone');
      const last = await client.terminate({ graceMs: 0 });
      assert.deepEqual(last.kept, []);
    } finally {
      for (const each of [descriptor, ...copies]) closeDescriptor(each);
    }
  });

  test('starts with a configuration that no pipe takes at once', async () => {
    const config = {
      ...largeConfig(300_000),
      process: testConfig({ script: 'ls /data/00000; exec sleep 1000' }).process,
    };
    assert.ok(JSON.stringify(config).length > 300_000);
    const client = await startSandbox({ stateDirectory: state.path, config });
    jailors.add(client.state.jailor);
    await logged('/data/00000');
    await client.terminate({ graceMs: 10_000 });
  });

  test('runs, says so in its state file, logs, and can be terminated', async () => {
    const client = await start('echo out; echo err >&2; exec sleep 1000');
    const found = readSandboxState(state.path, ID);
    assert.deepEqual(found, client.state);
    assert.deepEqual(await client.status(), client.state);
    assert.equal(found.phase, 'running');
    const { process: root, init, jailor } = found;
    assert.ok(root !== null && init !== null);
    assert.equal(init.innerPid, 1);
    for (const pid of [root.pid, init.pid]) assert.equal(parentPid(pid), jailor.pid, 'a child of jailor');
    assert.deepEqual(identifyProcess(root.pid), { pid: root.pid, startTicks: root.startTicks });
    assert.equal(readlinkSync(found.netns!), readlinkSync(`/proc/${root.pid}/ns/net`));
    assert.equal(readlinkSync(`/proc/${root.pid}/fd/0`), '/dev/null');
    assert.equal(readlinkSync(`/proc/${root.pid}/fd/1`), `pipe:[${found.stdio?.stdout}]`);
    assert.equal(readlinkSync(`/proc/${root.pid}/fd/2`), `pipe:[${found.stdio?.stderr}]`);
    assert.ok(existsSync(found.cgroup!.freezer.path));
    assert.equal(JSON.parse(readFileSync(paths().config, 'utf8')).id, ID);
    assert.equal(statSync(paths().directory).mode & 0o777, 0o700);
    await logged('out');
    await logged('err');
    const line = log().find((one) => one.line === 'out');
    assert.ok(line !== undefined && line.stream === 'stdout' && Math.abs(line.t / 1000 - Date.now()) < 600_000);
    await client.signal('SIGWINCH');
    const final = await client.terminate({ graceMs: 10_000 });
    assert.deepEqual(final.exit, { reason: 'terminated', code: null, signal: 'SIGTERM' });
    assert.deepEqual(readSandboxState(state.path, ID), final);
    assert.ok(!existsSync(paths().controlSocket) && !existsSync(paths().root));
    await client.closed;
    assert.ok(log().length >= 2, 'the log stays');
  });

  test('its link is quiet, and both ends know each other for good', async () => {
    const client = await start('exec sleep 1000');
    const { netns, link, address } = client.state;
    const inside = openNetns({ path: netns! });
    const ends = [
      { name: link, socket: new RouteSocket(), run: <T>(look: () => T): T => look() },
      {
        name: 'eth0',
        socket: inNetns(inside, () => new RouteSocket()),
        run: <T>(look: () => T): T => inNetns(inside, look),
      },
    ] as const;
    const macs = ends.map(({ name, socket }) => getLink(socket, name).mac);
    assert.deepEqual(macs, ['02:00:a9:fe:01:01', '02:00:0a:58:4d:05']);
    for (const [index, { name, socket, run }] of ends.entries()) {
      const device = getLink(socket, name);
      assert.ok(device.up);
      assert.deepEqual(Object.values(run(() => readOffloads(name))), [false, false, false, false]);
      const sysctl = (key: string): string => run(() => readFileSync(`/proc/sys/net/${key}`, 'utf8').trim());
      assert.equal(sysctl(`ipv4/conf/${name}/rp_filter`), '0');
      if (existsSync('/proc/sys/net/ipv6')) assert.equal(sysctl(`ipv6/conf/${name}/disable_ipv6`), '1');
      const other = index === 0 ? address : '169.254.1.1';
      assert.deepEqual(
        listNeighbours(socket).filter((entry) => entry.link === device.index),
        [{ link: device.index, address: other, mac: macs[1 - index], permanent: true }],
      );
    }
    assert.deepEqual(
      listAddresses(ends[1].socket)
        .map((one) => `${one.address}/${one.prefixLength}`)
        .toSorted(),
      ['10.88.77.5/32', '127.0.0.1/8'],
    );
    assert.equal(lookUpRoute(ends[1].socket, '198.51.100.1').gateway, '169.254.1.1');
    for (const { socket } of ends) socket.close();
    closeFd(inside);
    await client.terminate({ graceMs: 1_000 });
  });

  test('a process that does not mind SIGTERM is killed when the grace is over', async () => {
    const client = await start("trap '' TERM; echo ready; while :; do sleep 0.1; done");
    await logged('ready');
    const final = await client.terminate({ graceMs: 50 });
    assert.deepEqual(final.exit, { reason: 'terminated', code: null, signal: 'SIGKILL' });
  });

  test('a frozen process can be terminated all the same', async () => {
    const client = await start('exec sleep 1000');
    const { version, path } = client.state.cgroup!.freezer;
    if (version === 1) writeFileSync(join(path, 'freezer.state'), 'FROZEN');
    else writeFileSync(join(path, 'cgroup.freeze'), '1');
    const final = await client.terminate({ graceMs: 20 });
    assert.equal(final.exit?.reason, 'terminated');
  });

  test('a process that ends by itself is told to everybody, with everything that it said', async () => {
    const client = await start('echo last words; read line < /tmp/absent; exit 9');
    const final = await client.waitFor(({ phase }) => phase === 'exited').catch(() => readSandboxState(state.path, ID));
    assert.deepEqual(final.exit, { reason: 'ended', code: 9, signal: null });
    await client.closed;
    assert.equal(log()[0]?.line, 'last words');
    await assert.rejects(client.status(), { code: 'peer.died' });
    await assert.rejects(ControlClient.connect(state.path, ID), { code: 'sandbox.not-running' });
  });

  test('an id is free as soon as its end is known', async () => {
    for (let n = 0; n < 5; n++) {
      const client = await start('exec sleep 1000');
      await client.terminate({ graceMs: 1_000 });
    }
  });

  test('a released process is no crash', async () => {
    const client = await start('exec sleep 1000');
    client.close();
    const again = await ControlClient.connect(state.path, ID);
    const final = await again.release();
    assert.deepEqual(final.exit, { reason: 'released', code: null, signal: 'SIGKILL' });
  });

  test('a failed start is the error that jailor had', async () => {
    const config = testConfig({ change: { writable: ['/bin'] } });
    await assert.rejects(startSandbox({ stateDirectory: state.path, config }), { code: 'config.invalid' });
    const { process: spec } = testConfig({});
    const change = { process: { ...spec, workingDirectory: '/dev/absent' } };
    await assert.rejects(
      startSandbox({ stateDirectory: state.path, config: testConfig({ change }) }),
      (thrown: Error) => {
        assert.match(thrown.message, /could not run \/bin\/sh/);
        assert.match(String((thrown.cause as Error).message), /absent/);
        return true;
      },
    );
    const client = await start('exec sleep 1000');
    await assert.rejects(start('true'), { code: 'sandbox.exists' });
    await client.terminate({ graceMs: 1_000 });
  });

  test('it outlives who started it, and a SIGHUP', async () => {
    const client = await start('exec sleep 1000');
    const { jailor } = client.state;
    assert.equal(
      readFileSync(`/proc/${jailor.pid}/stat`, 'latin1').split(') ')[1]?.split(' ')[3],
      `${jailor.pid}`,
      'its own session',
    );
    process.kill(jailor.pid, 'SIGHUP');
    assert.equal((await client.status()).phase, 'running');
    process.kill(jailor.pid, 'SIGTERM');
    const final = await client.waitFor(({ phase }) => phase === 'exited');
    assert.equal(final.exit?.reason, 'terminated');
  });

  test('nonsense on the socket is refused and harms nobody', async () => {
    const client = await start('exec sleep 1000');
    const socket = connect(paths().controlSocket).setEncoding('utf8');
    let heard = '';
    socket.on('data', (text) => {
      heard += text;
    });
    socket.write(
      '{"id":7,"method":"explode"}\n{"id":8,"method":"signal","signal":"rm -rf"}\n{"id":9,"method":"adopt","hostPid":1}\n',
    );
    while (heard.split('\n').length < 5) await sleep(5);
    const replies = heard
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => JSON.parse(line));
    assert.deepEqual(replies.map(({ id, error }) => `${id} ${error.code}`).toSorted(), [
      '7 peer.protocol',
      '8 peer.protocol',
      '9 sandbox.not-running',
    ]);
    socket.write('no json\n');
    await once(socket, 'close');
    const flood = connect(paths().controlSocket).on('error', () => undefined);
    const over = new Promise((resolve) => flood.once('close', resolve));
    flood.write('x'.repeat(200_000));
    await over;
    assert.equal((await client.status()).phase, 'running');
    await client.terminate({ graceMs: 1_000 });
  });

  test('a skeleton waits, unrouted, with the descriptors that the process will have', async () => {
    const client = await start('true', true);
    const { phase, hatchery, init, process: root, stdio, link } = client.state;
    assert.deepEqual([phase, root, hatchery?.innerPid], ['ready', null, HATCHERY_PID]);
    assert.equal(parentPid(hatchery!.pid), client.state.jailor.pid);
    assert.equal(readlinkSync(`/proc/${hatchery!.pid}/fd/0`), '/dev/null');
    assert.equal(readlinkSync(`/proc/${hatchery!.pid}/fd/1`), `pipe:[${stdio?.stdout}]`);
    assert.equal(readlinkSync(`/proc/${hatchery!.pid}/fd/2`), `pipe:[${stdio?.stderr}]`);
    assert.equal(readlinkSync(`/proc/${hatchery!.pid}/root`), '/');
    assert.ok(existsSync(`/proc/${hatchery!.pid}/root/bin/cat`) && !existsSync(`/proc/${hatchery!.pid}/root/var`));
    using socket = new RouteSocket();
    assert.ok(!listRoutes(socket).some(({ destination, table }) => destination === '10.88.77.5/32' && table === 254));
    assert.match(link, /^cr-[0-9a-f]{8}$/);
    assert.ok(init !== null);
    await assert.rejects(client.signal('SIGTERM'), { code: 'sandbox.not-running' });
    await assert.rejects(client.adopt(process.pid), { code: 'process.gone', message: /its parent is/ });
    await assert.rejects(client.adopt(999_999), { code: 'process.gone', message: /no such process/ });
    const final = await client.terminate({ graceMs: 5_000 });
    assert.deepEqual(final.exit, { reason: 'terminated', code: null, signal: null });
  });

  test('a process that comes out of the hatchery becomes the root process, and its end is the sandbox’s', async () => {
    const client = await start('true', true);
    const { hatchery, jailor, stdio } = client.state;
    const pid = hatch(hatchery!.pid, 3);
    assert.equal(parentPid(pid), jailor.pid);
    const adopted = await client.adopt(pid);
    assert.equal(adopted.phase, 'running');
    assert.deepEqual(adopted.process, { ...identifyProcess(pid), innerPid: 3 });
    assert.equal(adopted.hatchery, null);
    assert.equal(readlinkSync(`/proc/${pid}/fd/1`), `pipe:[${stdio?.stdout}]`);
    while (isAlive(hatchery!)) await sleep(5);
    await assert.rejects(client.adopt(pid), { code: 'sandbox.not-running' });
    await logged('hatched');
    const exited = client.waitFor(({ phase }) => phase === 'exited');
    await client.signal('SIGCONT');
    assert.deepEqual((await exited).exit, { reason: 'ended', code: 42, signal: null });
  });

  test('an adopted process can be terminated while it is stopped', async () => {
    const client = await start('true', true);
    await client.adopt(hatch(client.state.hatchery!.pid, 3));
    const final = await client.terminate({ graceMs: 20 });
    assert.deepEqual(final.exit, { reason: 'terminated', code: null, signal: 'SIGKILL' });
  });

  test('a process that came out of the hatchery and was never adopted does not hold up the end', async () => {
    for (const ends of ['before', 'with'] as const) {
      const client = await start('true', true);
      const pid = hatch(client.state.hatchery!.pid, 3);
      const identity = identifyProcess(pid)!;
      if (ends === 'before') {
        process.kill(pid, 'SIGKILL');
        while (identifyProcess(pid)?.startTicks === identity.startTicks) await sleep(5);
        await assert.rejects(client.adopt(pid), { code: 'process.gone', message: /no such process/ });
      }
      const final = await client.terminate({ graceMs: 1_000 });
      assert.equal(final.exit?.reason, 'terminated');
      assert.equal(identifyProcess(pid)?.startTicks === identity.startTicks, false, 'reaped');
    }
  });

  test('a skeleton cannot have the address of another sandbox', async () => {
    const client = await start('exec sleep 1000');
    const config = testConfig({ id: 'two' });
    const skeleton = { hatcheryPid: HATCHERY_PID };
    await assert.rejects(startSandbox({ stateDirectory: state.path, config, skeleton }), {
      code: 'address.in-use',
      message: "the address 10.88.77.5 is in use: it is sandbox jailtest's",
    });
    await client.terminate({ graceMs: 1_000 });
  });

  test('a skeleton whose hatchery dies is over', async () => {
    const client = await start('true', true);
    const exited = client.waitFor(({ phase }) => phase === 'exited');
    process.kill(client.state.hatchery!.pid, 'SIGKILL');
    assert.deepEqual((await exited).exit, { reason: 'hatchery-lost', code: null, signal: null });
  });

  test('when jailor is killed the sandbox dies with it, and the rest is cleaned', async () => {
    const client = await start('exec sleep 1000');
    const { jailor, process: root, init, link, cgroup } = client.state;
    process.kill(jailor.pid, 'SIGKILL');
    await client.closed;
    for (const one of [jailor, root!, init!]) while (isAlive(one)) await sleep(5);
    assert.ok(existsSync(cgroup!.freezer.path));
    assert.equal(listSandboxes(state.path)[0]?.phase, 'running', 'as it was last known');
    const { cleaned, failures } = await cleanStale(state.path);
    assert.deepEqual(failures, []);
    assert.equal(cleaned.length, 1);
    assert.equal(cleaned[0]?.wasLost, true);
    assert.deepEqual(cleaned[0]?.state?.exit, { reason: 'jailor-lost', code: null, signal: null });
    assert.ok(!existsSync(cgroup!.freezer.path) && !existsSync(paths().root));
    using socket = new RouteSocket();
    assert.ok(!listRoutes(socket).some(({ destination }) => destination === '10.88.77.5/32'), `${link} is gone`);
    assert.deepEqual(await cleanStale(state.path), { cleaned: [], failures: [] });
  });

  test('cleaning leaves the living alone', async () => {
    const client = await start('exec sleep 1000');
    assert.deepEqual(await cleanStale(state.path, { forget: true }), { cleaned: [], failures: [] });
    assert.equal(await forgetSandbox(state.path, ID), false);
    assert.equal((await client.status()).phase, 'running');
    await client.terminate({ graceMs: 1_000 });
  });

  test('an id whose jailor was killed can be started again at once', async () => {
    for (let n = 0; n < 3; n++) {
      const client = await start('exec sleep 1000');
      process.kill(client.state.jailor.pid, 'SIGKILL');
      await client.closed;
    }
    const last = await start('exec sleep 1000');
    await last.terminate({ graceMs: 1_000 });
  });
});
