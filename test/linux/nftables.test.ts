/** Needs root, nftables and connection tracking. Everything happens in a network namespace of its own. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:dgram';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { ConntrackSocket } from '../../src/linux/conntrack.ts';
import { closeFd, createNetns, inNetns } from '../../src/linux/netns.ts';
import { Nftables, NftablesError } from '../../src/linux/nftables.ts';
import { getLink, RouteSocket, setLink } from '../../src/linux/rtnetlink/index.ts';
import { udpSocketIn } from '../support/udp.ts';

const TABLE = { family: 'ip', name: 'test' };
const addTable = { add: { table: TABLE } };
const SET = { family: 'ip', table: 'test', name: 'ports' };
const addSet = { add: { set: { ...SET, type: 'inet_service' } } };
const element = (op: 'add' | 'delete', port: number) => ({ [op]: { element: { ...SET, elem: [port] } } });
const openFiles = (): number => readdirSync('/proc/self/fd').length;

describe('nftables', () => {
  let netns = -1;
  let nft: Nftables;

  before(() => {
    netns = createNetns();
    nft = inNetns(netns, () => new Nftables());
  });
  after(() => {
    nft.close();
    nft.close();
    closeFd(netns);
  });

  test('works in the namespace that it was opened in, whichever the thread is in later', () => {
    nft.apply('make a table', [addTable, addSet]);
    assert.equal(inNetns(netns, () => new Nftables().list({ tables: { family: 'ip' } }))?.length, 1);
    const names = new Nftables().list({ tables: {} })?.map(({ table }) => (table as { name: string }).name);
    assert.ok(!names?.includes('test'));
  });

  test('a transaction is made whole or not at all', () => {
    nft.apply('add', [element('add', 1)]);
    assert.throws(
      () => nft.apply('swap', [element('add', 2), element('delete', 99)]),
      (thrown) => thrown instanceof NftablesError && /^swap: .*No such file/.test(thrown.message) && thrown.isAbsent,
    );
    assert.match(JSON.stringify(nft.list({ set: SET })), /"elem":\[1\]/);
    // An error does not spoil the answers behind it.
    nft.apply('swap', [element('add', 2), element('delete', 1)]);
  });

  test('text and JSON speak to the same table', () => {
    nft.applyText('a rule', 'add chain ip test c\nadd rule ip test c udp dport @ports counter');
    assert.equal(nft.list({ chain: { family: 'ip', table: 'test', name: 'c' } })?.length, 2);
    assert.throws(() => nft.applyText('nonsense', 'add nonsense'), /nonsense: .*syntax error/);
  });

  test('what is not there is undefined, not an error', () => {
    assert.equal(nft.list({ table: { family: 'ip', name: 'nowhere' } }), undefined);
  });

  test('a context that is closed leaves no descriptor', () => {
    new Nftables().close();
    const before = openFiles();
    for (let i = 0; i < 20; i++) new Nftables().close();
    assert.equal(openFiles(), before);
  });
});

describe('connection tracking', () => {
  let netns = -1;
  let tracked: ConntrackSocket;
  let nft: Nftables;
  let client: Socket;
  let server: Socket;

  before(() => {
    netns = createNetns();
    tracked = inNetns(netns, () => new ConntrackSocket());
    nft = inNetns(netns, () => new Nftables());
    using route = inNetns(netns, () => new RouteSocket());
    route.apply(setLink(getLink(route, 'lo').index, { up: true }));
    client = udpSocketIn(netns, '127.0.0.1');
    server = udpSocketIn(netns, '127.0.0.1');
  });
  after(() => {
    client?.close();
    server?.close();
    tracked.close();
    nft.close();
    closeFd(netns);
  });

  test('a translated flow is listed with who really answers, and forgotten on request', async () => {
    const target = server.address().port;
    nft.applyText(
      'translate',
      `add table ip test
       add chain ip test out { type nat hook output priority -100; }
       add rule ip test out udp dport 1000 dnat to 127.0.0.1:${target}`,
    );
    client.send('x', 1000, '127.0.0.1');
    await once(server, 'message');
    const flows = () => tracked.list().filter(({ destination }) => destination.port === 1000);
    const [flow] = flows();
    assert.ok(flow !== undefined);
    assert.equal(flow.protocol, 17);
    assert.deepEqual(flow.source, { address: '127.0.0.1', port: client.address().port });
    assert.deepEqual(flow.answeredBy, { address: '127.0.0.1', port: target });
    tracked.forget(flow);
    tracked.forget(flow);
    assert.deepEqual(flows(), []);
  });
});
