/**
 * Run in a network namespace of its own: starts a program in a root directory by chroot, sends it a datagram until it
 * answers, and prints the answers as JSON. Arguments: root directory, full configuration (JSON), port, datagrams (hex).
 */
import { spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import type { FullConfig } from '../../src/base/sandbox-config.ts';

const RETRY_MS = 200;
const TRIES = 50;

const [root, json, port, ...datagrams] = process.argv.slice(2);
const config = JSON.parse(json!) as FullConfig;

spawnSync('ip', ['link', 'set', 'lo', 'up'], { stdio: 'inherit' });
const { executable, arguments: words, environment } = config.process;
const child = spawn('chroot', [root!, executable, ...words], {
  // PATH is for finding chroot.
  env: { PATH: process.env['PATH'], ...environment },
  stdio: ['ignore', 'pipe', 'pipe'],
});
let said = '';
child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));

const socket = createSocket('udp4');
socket.on('error', () => {}); // refused while the program has not opened its port yet
const answers: string[] = [];
for (const datagram of datagrams) {
  const answer = new Promise<string>((resolve) => {
    socket.once('message', (message) => resolve(message.toString('hex')));
  });
  let got: string | undefined;
  for (let tries = 0; got === undefined && tries < TRIES && child.exitCode === null; tries++) {
    socket.send(Buffer.from(datagram, 'hex'), Number(port), '127.0.0.1');
    got = await Promise.race([answer, setTimeout(RETRY_MS, undefined)]);
  }
  if (got === undefined) break;
  answers.push(got);
}
socket.close();
const ended = child.exitCode === null ? once(child, 'exit') : undefined;
child.kill('SIGKILL');
await ended;
process.stdout.write(JSON.stringify({ answers, said }));
