/** Has UDP sockets of several kinds and reads none of them: `any`, `one` address, `connected`, `dual` (IPv6 and IPv4). */
import dgram from 'node:dgram';

const [, , address, remote] = process.argv as [string, string, string, string];
const bind = (socket: dgram.Socket, port: number, host: string): Promise<void> =>
  new Promise((resolve) => socket.bind(port, host, resolve));

const sockets = {
  any: dgram.createSocket('udp4'),
  one: dgram.createSocket('udp4'),
  connected: dgram.createSocket('udp4'),
  dual: dgram.createSocket('udp6'),
};
await bind(sockets.any, 7001, '0.0.0.0');
await bind(sockets.one, 7002, address);
await bind(sockets.connected, 7003, address);
await new Promise<void>((resolve) => sockets.connected.connect(9003, remote, resolve));
await bind(sockets.dual, 7004, '::');
process.stdout.write('ready\n');
