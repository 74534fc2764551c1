import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { test } from 'node:test';
import { findOwnUdpSocket } from './own-socket.ts';
import { receiveMemory } from './socket-memory.ts';

test('the descriptor of an open UDP socket is found by its port, and of a closed one not', async () => {
  for (const type of ['udp4', 'udp6'] as const) {
    const [wanted, other] = [createSocket({ type, recvBufferSize: 8192 }), createSocket(type)];
    for (const socket of [wanted, other]) {
      socket.bind(0);
      await once(socket, 'listening');
    }
    const { port } = wanted.address();
    const fd = findOwnUdpSocket(port);
    assert.ok(fd !== undefined);
    assert.equal(receiveMemory(fd).limitBytes, wanted.getRecvBufferSize());
    for (const socket of [wanted, other]) await new Promise<void>((resolve) => socket.close(resolve));
    assert.equal(findOwnUdpSocket(port), undefined);
  }
});
