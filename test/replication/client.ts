/**
 * Open-loop UDP client: `HOST PORT RATE COUNT BYTES LINGER_MS`. Sends numbered requests at a rate whatever happens, waits a
 * while for the last answers, and prints one line of JSON about what came back.
 */
import dgram from 'node:dgram';

const [host, port, rate, count, bytes, lingerMs] = process.argv.slice(2) as [string, ...string[]];
const socket = dgram.createSocket({ type: 'udp4', recvBufferSize: 8 << 20, sendBufferSize: 8 << 20 });
const total = Number(count);
const answers = new Map<number, number>();
/** What the server said was its count, by request. */
const order: number[] = [];
let next = 0;
let refused = 0;
let overtaken = 0;
let last = -1;
socket.on('message', (message) => {
  const processed = message.readUInt32LE(0);
  const number = message.readUInt32LE(8);
  answers.set(number, (answers.get(number) ?? 0) + 1);
  order[number] = processed;
  if (processed < last) overtaken++;
  last = processed;
});
socket.on('error', () => refused++);
socket.connect(Number(port), host, () => {
  process.stdout.write('ready\n');
  const started = performance.now();
  const tick = (): void => {
    const due = Math.min(total, Math.floor(((performance.now() - started) * Number(rate)) / 1000));
    for (; next < due; next++) {
      const message = Buffer.alloc(Number(bytes));
      message.writeUInt32LE(next, 0);
      socket.send(message);
    }
    if (next < total) setTimeout(tick, 0.2);
    else whenAnswered(() => setTimeout(report, Number(lingerMs)));
  };
  tick();
});

/** Or, where answers are missing, when they have been waited for long enough. */
function whenAnswered(then: () => void, tries = 1000): void {
  if (answers.size === total || tries === 0) then();
  else setTimeout(() => whenAnswered(then, tries - 1), 10);
}

function report(): void {
  socket.close();
  let lost = 0;
  let duplicated = 0;
  for (let number = 0; number < total; number++) {
    const times = answers.get(number) ?? 0;
    if (times === 0) lost++;
    if (times > 1) duplicated += times - 1;
  }
  const processedTwice = order.length - new Set(order).size;
  process.stdout.write(`${JSON.stringify({ sent: total, lost, duplicated, processedTwice, overtaken, refused })}\n`);
}
