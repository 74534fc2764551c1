/**
 * Asks as fast as it is answered: so many requests are always on their way, and each answer is followed by the next
 * request. The server's queue never overflows, and the answers a second are what it can do.
 *
 * Arguments: HOST PORT OUTSTANDING. Ends at SIGTERM and prints one line of JSON, {@link Saturation}.
 */
import { createSocket } from 'node:dgram';

/** `answers[i]`: that came between `startUnixUs` + i · {@link BUCKET_MS} and the next. */
export type Saturation = {
  readonly startUnixUs: number;
  readonly bucketMs: number;
  readonly answers: readonly number[];
};

const BUCKET_MS = 5;
/** A request that has not been answered for so long is taken as lost, and another one is sent. */
const LOST_MS = 300;

const [host = '', port = '', outstanding = ''] = process.argv.slice(2);
const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 22 });
const answers: number[] = [];
const begin = performance.now();
let next = 0;
let answered = 0;
let lastAnswered = -1;

const send = (): void => socket.send(String(++next), () => undefined);
socket.on('error', () => undefined);
socket.on('message', () => {
  answered++;
  const bucket = Math.floor((performance.now() - begin) / BUCKET_MS);
  while (answers.length <= bucket) answers.push(0);
  answers[bucket]!++;
  send();
});
socket.connect(Number(port), host, () => {
  for (let i = 0; i < Number(outstanding); i++) send();
});
const watch = setInterval(() => {
  if (answered === lastAnswered) for (let i = 0; i < Number(outstanding); i++) send();
  lastAnswered = answered;
}, LOST_MS);
process.once('SIGTERM', () => {
  clearInterval(watch);
  socket.close();
  const startUnixUs = (performance.timeOrigin + begin) * 1000;
  process.stdout.write(`${JSON.stringify({ startUnixUs, bucketMs: BUCKET_MS, answers } satisfies Saturation)}\n`);
});
