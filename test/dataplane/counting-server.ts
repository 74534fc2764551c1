/** UDP server on every address of its namespace: keeps the numbers it gets, and prints them when it is told to end. */
import dgram from 'node:dgram';

const socket = dgram.createSocket('udp4');
const numbers: number[] = [];
socket.on('message', (message) => numbers.push(message.readUInt32LE(0)));
socket.bind(Number(process.argv[2]), () => process.stdout.write('ready\n'));
process.on('SIGTERM', () => {
  socket.close();
  process.stdout.write(`${JSON.stringify(numbers)}\n`);
});
