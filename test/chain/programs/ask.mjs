/**
 * Asks a server from where it is run: `ask.mjs udp|tcp HOST:PORT HEX` sends the bytes until there is an answer, and prints what
 * came first in hexadecimal. A server that starts refuses, or says nothing.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

const RETRY_MS = 500;
const TRIES = 40;

const [protocol, place, hex] = process.argv.slice(2);
const [host, port] = place.split(':');
const question = Buffer.from(hex, 'hex');

async function overUdp() {
  const socket = createSocket('udp4');
  socket.on('error', () => {});
  try {
    const answer = once(socket, 'message').then(([message]) => message);
    socket.send(question, Number(port), host);
    return await Promise.race([answer, pause(RETRY_MS)]);
  } finally {
    socket.close();
  }
}

async function overTcp() {
  const socket = connect({ host, port: Number(port) });
  try {
    const connected = await Promise.race([once(socket, 'connect'), pause(RETRY_MS)]);
    if (connected === undefined) return undefined;
    socket.write(question);
    const answer = await Promise.race([once(socket, 'data'), pause(RETRY_MS)]);
    return answer?.[0];
  } catch {
    await pause(RETRY_MS);
    return undefined;
  } finally {
    socket.destroy();
  }
}

for (let tries = 0; tries < TRIES; tries++) {
  const answer = await (protocol === 'tcp' ? overTcp() : overUdp());
  if (answer === undefined) continue;
  process.stdout.write(answer.toString('hex'));
  process.exit(0);
}
console.error(`no answer from ${place}`);
process.exit(1);
