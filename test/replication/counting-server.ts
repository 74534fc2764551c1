/**
 * Deterministic UDP server: answers each datagram with how many there were before it at that port and what was in it, so
 * that its answers tell in which order it got them. `PORT… [clock]`; with `clock` it tells the time too.
 */
import dgram from 'node:dgram';

const ports = process.argv.slice(2).filter((word) => /^\d+$/.test(word));
const tellsTime = process.argv.includes('clock');
let ready = 0;
for (const port of ports) {
  const socket = dgram.createSocket('udp4');
  let count = 0;
  socket.on('message', (message, { address, port: from }) => {
    const answer = Buffer.alloc(8 + message.length);
    answer.writeUInt32LE(count++, 0);
    if (tellsTime) answer.writeUInt32LE(Math.trunc(performance.now() * 1000) >>> 0, 4);
    message.copy(answer, 8);
    socket.send(answer, from, address);
  });
  socket.bind(Number(port), () => {
    if (++ready === ports.length) process.stdout.write('ready\n');
  });
}
