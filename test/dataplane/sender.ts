/**
 * Open-loop UDP sender: `HOST PORT RATE COUNT` sends the numbers from 0 on, at that rate whatever happens, until there were
 * that many (`Infinity`: for ever) or it is told to end (SIGTERM); then it says how many there were.
 */
import dgram from 'node:dgram';
import { performance } from 'node:perf_hooks';

const [host, port, rate, count] = process.argv.slice(2) as [string, string, string, string];
const socket = dgram.createSocket('udp4');
let total = Number(count);
let next = 0;
socket.connect(Number(port), host, () => {
  process.stdout.write('ready\n');
  const started = performance.now();
  const tick = (): void => {
    const due = Math.min(total, Math.floor(((performance.now() - started) * Number(rate)) / 1000));
    for (; next < due; next++) {
      const message = Buffer.alloc(32);
      message.writeUInt32LE(next);
      socket.send(message);
    }
    if (next < total) setTimeout(tick, 0.2);
    else setTimeout(() => socket.close(), 20);
  };
  tick();
});
process.on('SIGTERM', () => {
  total = next;
});
socket.on('close', () => process.stdout.write(`done ${next}\n`));
socket.on('error', (error) => {
  process.stderr.write(`sender: ${error.message}\n`);
});
