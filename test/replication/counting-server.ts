/**
 * Deterministic UDP server: answers each datagram with how many there were before it and what was in it, so that its
 * answers tell in which order it got them. `PORT [silent|clock]`
 */
import dgram from 'node:dgram';

const [port, manner] = process.argv.slice(2);
const socket = dgram.createSocket('udp4');
let count = 0;
socket.on('message', (message, { address, port: from }) => {
  const answer = Buffer.alloc(8 + message.length);
  answer.writeUInt32LE(count++, 0);
  if (manner === 'clock') answer.writeUInt32LE(Math.trunc(performance.now() * 1000) >>> 0, 4);
  message.copy(answer, 8);
  if (manner !== 'silent') socket.send(answer, from, address);
});
socket.bind(Number(port), () => process.stdout.write('ready\n'));
