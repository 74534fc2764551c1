import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { boundPorts, portsInTable } from './bound-ports.ts';

const UDP = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  420: 00000000:138E 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 66 2 000000001 0
  421: 0100007F:138F 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 67 2 000000001 0
  422: 0500580A:1390 0200460A:0FA1 01 00000000:00000000 00:00000000 00000000     0        0 68 2 000000001 0
`;
const TCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   1: 00000000000000000000000001000000:1F91 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   2: 0500580A:C350 0200460A:0FA1 01 00000000:00000000 00:00000000 00000000     0        0 68 2 000000001 0
`;

test('ports that can be reached from outside: not those of the loopback device, of TCP only those that are listened at', () => {
  assert.deepEqual([...portsInTable(UDP, 'udp')], [5006, 5008]);
  assert.deepEqual([...portsInTable(TCP, 'tcp')], [8080]);
});

test('a port that this process binds is seen while it has it', async () => {
  const socket = createSocket('udp4').bind(0);
  await once(socket, 'listening');
  const { port } = socket.address();
  assert.ok(boundPorts(process.pid, 'udp').has(port));
  socket.close();
  await once(socket, 'close');
  assert.ok(!boundPorts(process.pid, 'udp').has(port));
  const server = createServer().listen(0);
  await once(server, 'listening');
  const address = server.address() as { port: number };
  assert.ok(boundPorts(process.pid, 'tcp').has(address.port));
  server.close();
});
