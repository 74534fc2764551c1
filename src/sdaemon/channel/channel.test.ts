import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { performance } from 'node:perf_hooks';
import { type TestContext, test } from 'node:test';
import { ComicranError, type ErrorCode } from '../../base/errors.ts';
import { closeDescriptor } from '../../linux/pidfd.ts';
import { TcpWriter } from '../../linux/tcp.ts';
import { openWake, signalWake } from '../../linux/wake.ts';
import { Readiness } from '../readiness.ts';
import { SecureChannel } from './channel.ts';
import { type ConnectionOptions, connectToPeer, type PeerConnection, PeerListener } from './establish.ts';

const LOOPBACK = Buffer.from([127, 0, 0, 1]);
const MAX_MESSAGE_BYTES = 2 << 20;
const readiness = new Readiness(() => performance.now());
const key = randomBytes(32);
const options: ConnectionOptions = { key, maxMessageBytes: MAX_MESSAGE_BYTES, readiness };

type Bytes = SecureChannel<readonly Uint8Array[], Uint8Array>;
const codec = { encode: (parts: readonly Uint8Array[]) => parts, decode: (bytes: Uint8Array) => bytes };
const channelOn = (connection: PeerConnection): Bytes =>
  new SecureChannel(connection, codec, MAX_MESSAGE_BYTES, readiness);
const fails = (code: ErrorCode) => (error: unknown) => error instanceof ComicranError && error.code === code;

async function connectedPair(context: TestContext): Promise<{ a: Bytes; b: Bytes; connections: PeerConnection[] }> {
  const listener = new PeerListener({ address: LOOPBACK, port: 0 }, options);
  const connections = await Promise.all([
    connectToPeer({ address: LOOPBACK, port: listener.port }, 2000, options),
    listener.accept(2000),
  ]);
  listener.close();
  const [a, b] = connections.map(channelOn) as [Bytes, Bytes];
  context.after(() => {
    a.close();
    b.close();
  });
  return { a, b, connections };
}

test('messages of every size arrive in order, in both directions at once', async (context) => {
  const { a, b } = await connectedPair(context);
  const sizes = [0, 1, 5, 65_536, MAX_MESSAGE_BYTES, 3, 300_000, 0, 17];
  const messages = sizes.map((size) => randomBytes(size));
  const exchange = async (from: Bytes, to: Bytes): Promise<void> => {
    for (const message of messages) void from.send([message.subarray(0, 7), message.subarray(7)]);
    for (const message of messages) assert.ok(message.equals(await to.receive(2000)));
  };
  await Promise.all([exchange(a, b), exchange(b, a)]);
});

test('the bytes of a message may change once it has been sent', async (context) => {
  const { a, b } = await connectedPair(context);
  const bytes = Buffer.alloc(MAX_MESSAGE_BYTES, 'x');
  const received = (async () => {
    for (let round = 0; round < 20; round++) assert.ok((await b.receive(2000)).every((byte) => byte === 65 + round));
  })();
  for (let round = 0; round < 20; round++) {
    bytes.fill(65 + round);
    await a.send([bytes]);
  }
  await received;
});

test('timers of the thread go on while it waits, and the wait has an end', async (context) => {
  const { b } = await connectedPair(context);
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  await assert.rejects(b.receive(300), fails('deadline'));
  clearInterval(timer);
  assert.ok(ticks >= 3, `${ticks} ticks`);
});

test('closing ends a wait', async (context) => {
  const { b } = await connectedPair(context);
  const receiving = b.receive(60_000);
  setTimeout(() => b.close(), 5);
  await assert.rejects(receiving, fails('peer.died'));
  const listener = new PeerListener({ address: LOOPBACK, port: 0 }, options);
  const accepting = listener.accept(60_000);
  setTimeout(() => listener.close(), 5);
  await assert.rejects(accepting, fails('aborted'));
});

test('a wait on one socket is not in the way of another one', async (context) => {
  const { a, b } = await connectedPair(context);
  const idle = new PeerListener({ address: LOOPBACK, port: 0 }, options);
  context.after(() => idle.close());
  idle.accept(60_000).catch(() => undefined);
  for (let round = 0; round < 200; round++) {
    void a.send([Buffer.from([round])]);
    assert.equal((await b.receive(2000))[0], round);
  }
});

test('a signal to the wake descriptor gives the event loop a turn at once, and ends no wait', async (context) => {
  const wake = openWake();
  context.after(() => closeDescriptor(wake));
  const waits = new Readiness(() => performance.now(), wake);
  const never = openWake();
  context.after(() => closeDescriptor(never));
  signalWake(wake);
  assert.equal(await waits.wait(never, 1, 20), false);
  assert.equal(await waits.wait(wake, 1, 1), false, 'it has been cleared');
});

test('what was sent before a close arrives, then the peer has died, for good', async (context) => {
  const { a, b } = await connectedPair(context);
  const bytes = randomBytes(MAX_MESSAGE_BYTES);
  // More than the sockets hold, and something unread in the other direction.
  void b.send([Buffer.from('never read')]);
  for (let count = 0; count < 10; count++) void a.send([bytes]);
  a.close();
  a.close();
  for (let count = 0; count < 10; count++) assert.ok(bytes.equals(await b.receive(2000)));
  await assert.rejects(b.receive(2000), fails('peer.died'));
  await assert.rejects(b.receive(2000), fails('peer.died'));
  assert.throws(() => b.send([bytes]), fails('peer.died'));
  assert.throws(() => a.send([bytes]), fails('peer.died'), 'closed on this side');
});

test('a damaged frame is a fault of the protocol, for good', async (context) => {
  const { b, connections } = await connectedPair(context);
  const forged = Buffer.alloc(30);
  forged.writeUInt32LE(10);
  new TcpWriter(connections[0]!.socket, 1).write([forged]);
  await assert.rejects(b.receive(2000), fails('peer.protocol'));
  await assert.rejects(b.receive(2000), fails('peer.protocol'));
});

test('a stream that ends inside a frame is a peer that died', async (context) => {
  const { a, b, connections } = await connectedPair(context);
  new TcpWriter(connections[0]!.socket, 1).write([Buffer.from([10, 0, 0, 0, 1, 2, 3])]);
  a.close();
  await assert.rejects(b.receive(2000), fails('peer.died'));
});

test('the listener drops strangers and goes on waiting for the peer', async (context) => {
  const listener = new PeerListener({ address: LOOPBACK, port: 0 }, options);
  context.after(() => listener.close());
  const accepted = listener.accept(5000);
  const stranger = (bytes: Uint8Array): Promise<void> =>
    new Promise((resolve) => {
      const socket = net.connect(listener.port, '127.0.0.1', () => socket.write(bytes));
      socket.on('error', () => undefined);
      socket.on('close', () => resolve());
    });
  await Promise.all([stranger(randomBytes(200)), stranger(Buffer.from('GET / HTTP/1.1\r\n'.repeat(20)))]);
  // One that says nothing, one that says half, one with another key: none of them is in the way.
  const silent = net.connect(listener.port, '127.0.0.1').on('error', () => undefined);
  const slow = net.connect(listener.port, '127.0.0.1', () => slow.write('COMI')).on('error', () => undefined);
  context.after(() => {
    silent.destroy();
    slow.destroy();
  });
  const to = { address: LOOPBACK, port: listener.port };
  await assert.rejects(connectToPeer(to, 2000, { ...options, key: randomBytes(32) }), fails('peer.refused'));
  const a = channelOn(await connectToPeer(to, 2000, options));
  const b = channelOn(await accepted);
  await a.send([Buffer.from('hello')]);
  assert.equal(Buffer.from(await b.receive(2000)).toString(), 'hello');
  a.close();
  b.close();
});

test('more strangers than there is room for do not keep the peer out', async (context) => {
  const listener = new PeerListener({ address: LOOPBACK, port: 0 }, options);
  const accepted = listener.accept(5000);
  const crowd = Array.from({ length: 40 }, () => net.connect(listener.port, '127.0.0.1').on('error', () => undefined));
  context.after(() => {
    for (const socket of crowd) socket.destroy();
    listener.close();
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  const a = channelOn(await connectToPeer({ address: LOOPBACK, port: listener.port }, 2000, options));
  const b = channelOn(await accepted);
  a.close();
  b.close();
});

test('a recorded handshake does not make a peer', async (context) => {
  // A relay that records what the peer sends and replays it later.
  const first = new PeerListener({ address: LOOPBACK, port: 0 }, options);
  const recorded: Buffer[] = [];
  const relay = net.createServer((near) => {
    const far = net.connect(first.port, '127.0.0.1');
    near.on('data', (bytes) => {
      recorded.push(bytes as Buffer);
      far.write(bytes);
    });
    far.on('data', (bytes) => near.write(bytes));
    near.on('close', () => far.destroy());
    far.on('error', () => undefined);
    near.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  context.after(() => {
    relay.close();
    first.close();
  });
  const accepted = first.accept(2000);
  const { port } = relay.address() as net.AddressInfo;
  channelOn(await connectToPeer({ address: LOOPBACK, port }, 2000, options)).close();
  channelOn(await accepted).close();
  const again = first.accept(300);
  const replay = net.connect(first.port, '127.0.0.1', () => replay.write(Buffer.concat(recorded)));
  replay.on('error', () => undefined);
  await assert.rejects(again, fails('deadline'));
  replay.destroy();
});

test('nobody listens, nobody connects', async () => {
  const listener = new PeerListener({ address: LOOPBACK, port: 0 }, options);
  await assert.rejects(listener.accept(30), fails('deadline'));
  const { port } = listener;
  listener.close();
  listener.close();
  await assert.rejects(connectToPeer({ address: LOOPBACK, port }, 1000, options), fails('vm.unreachable'));
});
