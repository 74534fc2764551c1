/** Needs root. Everything happens in network namespaces of its own, which are gone when it ends. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readlinkSync, statSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { EEXIST, ENODEV, ENOENT, ESRCH, KernelError } from '../../src/linux/errno.ts';
import {
  addNamedNetns,
  closeFd,
  createNetns,
  deleteNamedNetns,
  inNetns,
  listNamedNetns,
  netnsPath,
  openNetns,
  setNetSysctl,
} from '../../src/linux/netns.ts';
import {
  addAddress,
  addRoute,
  addRule,
  addVeth,
  deleteAddress,
  deleteLink,
  deleteNeighbour,
  deleteRoute,
  deleteRule,
  findLink,
  getLink,
  listAddresses,
  listLinks,
  listNeighbours,
  listRoutes,
  listRules,
  lookUpRoute,
  RouteSocket,
  replacePermanentNeighbour,
  replaceRoute,
  setLink,
} from '../../src/linux/rtnetlink/index.ts';

const NAME = 'cr-test-rtnl';
const fails = (errno: number, words: RegExp) => (thrown: unknown) =>
  thrown instanceof KernelError && thrown.errno === errno && words.test(thrown.message);
const ip = (...args: string[]): unknown =>
  JSON.parse(execFileSync('ip', ['-n', NAME, '-j', '-d', ...args], { encoding: 'utf8' }) || '[]');

describe('rtnetlink', () => {
  let here = -1;
  let there = -1;
  let socket: RouteSocket;
  let far: RouteSocket;

  before(() => {
    deleteNamedNetns(NAME);
    addNamedNetns(NAME);
    here = openNetns({ name: NAME });
    there = createNetns();
    socket = inNetns(here, () => new RouteSocket());
    far = inNetns(there, () => new RouteSocket());
  });
  after(() => {
    socket.close();
    far.close();
    closeFd(here);
    closeFd(there);
    deleteNamedNetns(NAME);
    assert.ok(!existsSync(netnsPath({ name: NAME })));
  });

  test('a name is listed, and cannot be taken twice', () => {
    assert.ok(listNamedNetns().includes(NAME));
    assert.throws(() => addNamedNetns(NAME), /EEXIST/);
  });

  test('a veth pair is made with each end in its own namespace', () => {
    socket.apply(
      addVeth(
        { name: 'near0', mac: '02:00:0a:58:00:01', mtu: 1400, txQueueLength: 77 },
        { name: 'eth0', mac: '02:00:0a:58:00:02', mtu: 1400, netns: there },
      ),
    );
    const near = getLink(socket, 'near0');
    const eth0 = getLink(far, 'eth0');
    assert.deepEqual(
      { ...near, index: 0, peerIndex: 0 },
      {
        index: 0,
        name: 'near0',
        mac: '02:00:0a:58:00:01',
        mtu: 1400,
        up: false,
        txQueueLength: 77,
        kind: 'veth',
        peerIndex: 0,
        master: undefined,
      },
    );
    assert.equal(near.peerIndex, eth0.index);
    assert.equal(eth0.mac, '02:00:0a:58:00:02');
    assert.equal(findLink(socket, 'eth0'), undefined);
    const seen = ip('link', 'show', 'near0') as { ifname: string; mtu: number; linkinfo: { info_kind: string } }[];
    assert.equal(seen[0]?.linkinfo.info_kind, 'veth');
    assert.equal(seen[0]?.mtu, 1400);
  });

  test('many changes go in one send, and what they made is listed', () => {
    const { index } = getLink(socket, 'near0');
    far.applyAll([setLink('lo', { up: true }), setLink('eth0', { up: true })]);
    socket.applyAll([
      setLink('lo', { up: true }),
      setLink('near0', { up: true, mtu: 1300 }),
      addAddress({ link: index, address: '169.254.1.1', prefixLength: 32, linkScope: true }),
      addAddress({ link: index, address: '192.0.2.1', prefixLength: 24 }),
      addRoute({ destination: '10.88.0.5/32', link: index }),
      replaceRoute({ destination: 'default', gateway: '192.0.2.254', link: index, onLink: true }),
      replaceRoute({ destination: '10.99.0.0/16', type: 'blackhole', table: 1000 }),
      replacePermanentNeighbour({ link: index, address: '10.88.0.5', mac: '02:00:0a:58:00:05' }),
      addRule({ priority: 100, table: 1000, incoming: 'near0' }),
      addRule({ priority: 101, table: 200, source: '10.88.0.0/16', mark: 7 }),
    ]);
    const link = getLink(socket, index);
    assert.equal(link.up, true);
    assert.equal(link.mtu, 1300);
    assert.deepEqual(
      listLinks(socket).map(({ name }) => name),
      ['lo', 'near0'],
    );
    assert.deepEqual(
      listAddresses(socket).filter((address) => address.link === index),
      [
        { link: index, address: '169.254.1.1', prefixLength: 32, linkScope: true },
        { link: index, address: '192.0.2.1', prefixLength: 24, linkScope: false },
      ],
    );
    const routes = listRoutes(socket);
    assert.ok(routes.some((route) => route.destination === '10.88.0.5/32' && route.link === index));
    assert.ok(routes.some((route) => route.destination === 'default' && route.gateway === '192.0.2.254'));
    assert.ok(
      routes.some(
        ({ destination, type, table }) => `${destination} ${type} ${table}` === '10.99.0.0/16 blackhole 1000',
      ),
    );
    assert.deepEqual(
      listNeighbours(socket).filter((entry) => entry.permanent),
      [{ link: index, address: '10.88.0.5', mac: '02:00:0a:58:00:05', permanent: true }],
    );
    assert.deepEqual(
      listRules(socket).filter(({ priority }) => priority === 100 || priority === 101),
      [
        { table: 1000, priority: 100, incoming: 'near0' },
        { table: 200, priority: 101, source: '10.88.0.0/16', mark: 7 },
      ],
    );
    assert.equal(lookUpRoute(socket, '10.88.0.5').link, index);
    assert.equal((ip('route', 'show', 'table', '1000') as { type: string }[])[0]?.type, 'blackhole');
  });

  test('a route is replaced in place', () => {
    const { index } = getLink(socket, 'near0');
    socket.apply(replaceRoute({ destination: '10.88.0.5', type: 'blackhole' }));
    assert.deepEqual(
      listRoutes(socket).filter(({ destination }) => destination === '10.88.0.5/32'),
      [{ destination: '10.88.0.5/32', type: 'blackhole', table: 254, protocol: 3 }],
    );
    socket.apply(replaceRoute({ destination: '10.88.0.5', link: index }));
    assert.equal(lookUpRoute(socket, '10.88.0.5').link, index);
  });

  test('a route carries the mark of who put it there, and is deleted by it', () => {
    const { index } = getLink(socket, 'near0');
    socket.apply(replaceRoute({ destination: '10.88.0.9', link: index, protocol: 88 }));
    assert.equal(listRoutes(socket).find(({ protocol }) => protocol === 88)?.destination, '10.88.0.9/32');
    assert.throws(() => socket.apply(deleteRoute({ destination: '10.88.0.9', protocol: 3 })), fails(ESRCH, /10\.88/));
    socket.apply(deleteRoute({ destination: '10.88.0.9', protocol: 88 }));
  });

  test('a failure names the change, and the changes behind it are made', () => {
    const { index } = getLink(socket, 'near0');
    const route = { destination: '10.88.0.5', link: index };
    assert.throws(
      () => socket.applyAll([addRoute(route), addRoute({ ...route, destination: '10.88.0.6' })]),
      fails(EEXIST, /add route .*10\.88\.0\.5/),
    );
    assert.ok(listRoutes(socket).some(({ destination }) => destination === '10.88.0.6/32'));
    assert.equal(socket.applyUnless(addRoute(route), EEXIST), false);
    assert.throws(() => socket.apply(setLink('absent0', { up: true })), fails(ENODEV, /set link absent0 up true/));
    assert.throws(() => getLink(socket, 'absent0'), fails(ENODEV, /get link absent0/));
  });

  test('everything can be deleted; what is not there is a named error', () => {
    const { index } = getLink(socket, 'near0');
    const address = { link: index, address: '192.0.2.1', prefixLength: 24 };
    socket.applyAll([
      deleteRoute({ destination: '10.88.0.5' }),
      deleteRoute({ destination: '10.88.0.6', link: index }),
      deleteRoute({ destination: 'default' }),
      deleteRoute({ destination: '10.99.0.0/16', table: 1000 }),
      deleteNeighbour({ link: index, address: '10.88.0.5' }),
      deleteRule({ priority: 100, table: 1000, incoming: 'near0' }),
      deleteRule({ priority: 101, table: 200 }),
      deleteAddress(address),
    ]);
    assert.deepEqual(
      listRoutes(socket).filter(({ destination }) => /^10\.|default/.test(destination)),
      [],
    );
    assert.equal(listRules(socket).length, 3);
    assert.throws(() => socket.apply(deleteRoute({ destination: '10.88.0.5' })), fails(ESRCH, /delete route/));
    assert.throws(() => socket.apply(deleteRule({ priority: 100, table: 1000 })), fails(ENOENT, /delete rule 100/));
  });

  test('a device moves to another namespace, and a veth goes with both ends', () => {
    socket.apply(addVeth({ name: 'stays0' }, { name: 'moves0', mac: '02:00:00:00:00:09' }));
    socket.apply(setLink(getLink(socket, 'moves0').index, { netns: there, name: 'moved0' }));
    assert.equal(findLink(socket, 'moves0'), undefined);
    assert.equal(getLink(far, 'moved0').mac, '02:00:00:00:00:09');
    far.apply(deleteLink('moved0'));
    socket.apply(deleteLink('near0'));
    assert.equal(findLink(far, 'eth0'), undefined);
  });

  test('a settable of one namespace is not that of another', () => {
    inNetns(here, () => setNetSysctl('ipv4/ip_forward', 1));
    const read = (): string =>
      execFileSync('ip', ['netns', 'exec', NAME, 'cat', '/proc/sys/net/ipv4/ip_forward'], { encoding: 'utf8' });
    assert.equal(read().trim(), '1');
    inNetns(here, () => setNetSysctl('ipv4/ip_forward', 0));
    assert.equal(read().trim(), '0');
  });

  test('a thread that enters a namespace for good is in it', async () => {
    const source = `
      import { enterNetworkNamespace } from ${JSON.stringify(import.meta.resolve('../../src/linux/netns.ts'))};
      import { readlinkSync, statSync } from 'node:fs';
      import { parentPort } from 'node:worker_threads';
      enterNetworkNamespace({ name: '${NAME}' });
      parentPort.postMessage(readlinkSync('/proc/thread-self/ns/net'));`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
    const [link] = await once(worker, 'message');
    assert.equal(link, `net:[${statSync(netnsPath({ name: NAME })).ino}]`);
    assert.notEqual(link, readlinkSync('/proc/thread-self/ns/net'));
  });

  test('a function that throws leaves the thread in its own namespace', () => {
    const own = readlinkSync('/proc/thread-self/ns/net');
    assert.throws(() => inNetns(there, () => assert.fail('on purpose')), /on purpose/);
    assert.equal(readlinkSync('/proc/thread-self/ns/net'), own);
  });
});
