/** Needs root, nftables and connection tracking. A machine with its ports is a network namespace of its own. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import type { NetworkSpec } from '../../src/base/sandbox-config.ts';
import { closeFd, createNetns, inNetns } from '../../src/linux/netns.ts';
import { RouteSocket, setLink } from '../../src/linux/rtnetlink/index.ts';
import { NftPublisher } from '../../src/sdaemon/publish/nft-publisher.ts';
import { needs } from '../support/needs.ts';
import { udpSocketIn } from '../support/udp.ts';

const PUBLISHED = 5006;
const MACHINE = '127.0.0.1';

test('a client that went on asking while nobody was published is heard when somebody is again', {
  skip: needs('root'),
}, async (t) => {
  const netns = createNetns();
  t.after(() => closeFd(netns));
  using route = inNetns(netns, () => new RouteSocket());
  route.apply(setLink('lo', { up: true }));
  const client = udpSocketIn(netns, MACHINE);
  const server = udpSocketIn(netns, '127.0.0.2');
  const stranger = udpSocketIn(netns, MACHINE, PUBLISHED);
  const publisher = inNetns(netns, () => new NftPublisher(MACHINE));
  t.after(() => {
    for (const socket of [client, server, stranger]) socket.close();
    publisher.close();
  });
  const publish = (id: string, port: number): Promise<void> => {
    const ports = [{ port: server.address().port, protocol: 'udp', publish: port }];
    return publisher.publish(id, { address: '127.0.0.2', ports } as unknown as NetworkSpec);
  };
  const asked = async (): Promise<string> => {
    const heard = [server, stranger].map(async (socket) => {
      await once(socket, 'message');
      return socket === server ? 'the server' : 'the machine';
    });
    client.send('x', PUBLISHED, MACHINE);
    return Promise.race(heard);
  };

  // From here on the kernel tracks flows.
  await publish('other', PUBLISHED + 1);
  assert.equal(await asked(), 'the machine');
  await publish('square', PUBLISHED);
  assert.equal(await asked(), 'the server');
  await publisher.unpublish('square');
});
