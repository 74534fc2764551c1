/** The client against servers that do what servers must not. Loopback only; needs no root. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createSocket, type RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { findOwnUdpSocket } from '../../src/linux/own-socket.ts';
import { forceReceiveLimit } from '../../src/linux/socket-memory.ts';
import { runClient } from '../../src/traffic/client/client.ts';
import { clientOptions } from '../../src/traffic/client/options.ts';
import { renderClientReport } from '../../src/traffic/client/render.ts';
import type { ClientReport } from '../../src/traffic/client/report.ts';
import { readTimeline, writeTimeline } from '../../src/traffic/client/timeline.ts';
import { serverOptions } from '../../src/traffic/server/options.ts';
import { startServer } from '../../src/traffic/server/server.ts';

type Reply = (text: string) => void;

/** A server that answers as told: `behave` gets the number, how many came before it, and the way to reply. */
async function serve(
  t: TestContext,
  behave: (number: bigint, before: number, reply: Reply) => void,
  host = '127.0.0.1',
): Promise<{ target: string }> {
  const socket = createSocket({ type: host === '::1' ? 'udp6' : 'udp4', recvBufferSize: 1 << 22 });
  let before = 0;
  socket.on('message', (request: Buffer, from: RemoteInfo) => {
    behave(BigInt(request.toString()), before++, (text) => socket.send(text, from.port, from.address));
  });
  socket.bind(0, host);
  await once(socket, 'listening');
  t.after(() => socket.close());
  return { target: `${host === '::1' ? '[::1]' : host}:${socket.address().port}` };
}

async function ask(target: string, raw: Partial<Parameters<typeof clientOptions>[1]> = {}): Promise<ClientReport> {
  const options = clientOptions(target, { rate: '1000', duration: '0.2', grace: '0.2', ...raw });
  return (await runClient(options, { prepareSocket: enlargeQueue })).report;
}

/** Where net.core.rmem_max is small, a short stall of this machine would overrun the queues at 20,000 a second. */
function enlargeQueue(localPort: number): void {
  if (process.getuid?.() === 0) forceReceiveLimit(findOwnUdpSocket(localPort)!, 32 << 20);
}

test('against the counting server everything is answered exactly once, also at 20,000 requests a second', async () => {
  const server = await startServer(serverOptions({ host: '127.0.0.1', port: '0', count: true }));
  enlargeQueue(server.port);
  try {
    for (const [rate, duration, sent] of [
      ['1000', '0.5', 500],
      ['20000', '0.2', 4000],
    ] as const) {
      const report = await ask(`127.0.0.1:${server.port}`, { rate, duration });
      const { answered, lost, duplicated, wrong, exactlyOnce } = report;
      assert.deepEqual(
        [report.sent, answered, lost, duplicated, wrong, exactlyOnce],
        [sent, sent, 0, 0, 0, true],
        JSON.stringify(report),
      );
      assert.deepEqual(report.unanswered, []);
    }
    assert.equal(server.served(), 4500);
  } finally {
    await server.close();
  }
});

const SLOW_SERVER = `
const { parentPort } = require('node:worker_threads');
const socket = require('node:dgram').createSocket('udp4');
socket.on('message', (request, { port, address }) => {
  const number = BigInt(request.toString());
  setTimeout(() => parentPort.postMessage(Number(number)), 15);
  setTimeout(() => socket.send(String(number * number), port, address), 40);
});
socket.bind(0, '127.0.0.1', () => parentPort.postMessage(socket.address().port));
`;

test('answers that came in time are no losses, where the client itself stood still at the end', async () => {
  const server = new Worker(SLOW_SERVER, { eval: true });
  try {
    const [port] = (await once(server, 'message')) as [number];
    let seen = 0;
    server.on('message', () => {
      // Behind the last request, before its answer, and beyond the grace.
      if (++seen === 5) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
    });
    const { sent, answered, lost } = await ask(`127.0.0.1:${port}`, { rate: '100', duration: '0.05', grace: '0.1' });
    assert.deepEqual({ sent, answered, lost }, { sent: 5, answered: 5, lost: 0 });
  } finally {
    await server.terminate();
  }
});

for (const answer of ['clock', 'random']) {
  test(`the last word of answers that depend on ${answer} spoils no check`, async () => {
    const server = await startServer(serverOptions({ host: '127.0.0.1', port: '0', count: true, answer }));
    try {
      const report = await ask(`127.0.0.1:${server.port}`);
      assert.deepEqual([report.answered, report.wrong, report.exactlyOnce], [200, 0, true]);
    } finally {
      await server.close();
    }
  });
}

test('the server gets the requests of the run and nothing else, each once, in order', async (t) => {
  const seen: bigint[] = [];
  const { target } = await serve(t, (number) => seen.push(number));
  const report = await ask(target, { rate: '500', duration: '0.1', grace: '0' });
  assert.deepEqual(
    seen,
    Array.from({ length: 50 }, (_, i) => BigInt(i + 1)),
  );
  assert.deepEqual([report.sent, report.answered, report.lost], [50, 0, 50]);
});

test('what is lost, doubled, wrong, late or swapped is counted', async (t) => {
  let held: (() => void) | undefined;
  const { target } = await serve(t, (number, before, reply) => {
    const answer = `${number * number} ${before + 1}`;
    if (before === 10 || before === 11) return; // lost
    if (before === 20) reply(answer); // and once more below
    if (before === 30) return reply(`${number * number + 1n} ${before + 1}`);
    if (before === 31) return reply('error: not an integer');
    if (before === 40) {
      held = () => reply(answer);
      return;
    }
    reply(answer);
    if (before === 41) held?.();
    if (before === 199) setTimeout(reply, 100, answer); // a second answer, within the grace time
  });
  const report = await ask(target);
  const { sent, answered, lost, duplicated, wrong, reordered, exactlyOnce } = report;
  assert.deepEqual([sent, answered, lost, duplicated, wrong, reordered, exactlyOnce], [200, 196, 4, 2, 2, 1, false]);
  assert.deepEqual(
    report.unanswered.map(({ index }) => index),
    [10, 11, 30, 31],
  );
  assert.deepEqual(report.wrongSamples, ['962 31', 'error: not an integer']);
  assert.match(renderClientReport(report), /lost +4\n/);
});

test('a server that stops answering does not slow the sending, and what it answers late is counted from when it was due', async (t) => {
  const waiting: (() => void)[] = [];
  const arrivals: number[] = [];
  const { target } = await serve(t, (number, before, reply) => {
    arrivals.push(performance.now());
    const answer = (): void => reply(`${number * number} ${before + 1}`);
    if (before < 50 || before >= 150) answer();
    else waiting.push(answer);
    if (before === 150) for (const late of waiting) late();
  });
  const report = await ask(target, { duration: '0.3' });
  const { answered, lost, exactlyOnce, latencyUs, maxGapMs } = report;
  assert.deepEqual([answered, lost, exactlyOnce], [300, 0, true]);
  // 100 requests, one a millisecond, fell into the pause: the first waited for all of it.
  assert.ok(maxGapMs >= 99, `gap ${maxGapMs}`);
  assert.ok(latencyUs.max! >= 99_000 && latencyUs.p90! >= 60_000, JSON.stringify(latencyUs));
  assert.equal(arrivals.length, 300);
});

test('where nobody listens, refusals are counted and the run goes on', async () => {
  // A port that was free a moment ago.
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const target = `127.0.0.1:${socket.address().port}`;
  await new Promise<void>((resolve) => socket.close(resolve));
  const report = await ask(target, { duration: '0.1', grace: '0.1' });
  assert.deepEqual([report.sent, report.answered, report.lost, report.exactlyOnce], [100, 0, 100, null]);
  assert.ok(report.refused > 0);
  assert.equal(report.latencyUs.p50, null);
});

test('IPv6, and numbers of many digits', async (t) => {
  const { target } = await serve(t, (number, before, reply) => reply(`${number * number} ${before + 1}`), '::1');
  const report = await ask(target, { digits: '1000', duration: '0.1' });
  assert.deepEqual([report.target, report.answered, report.exactlyOnce], [target, 100, true]);
});

test('the timeline holds what the report was made from', async (t) => {
  const { target } = await serve(t, (number, before, reply) => {
    if (before !== 5) reply(`${number * number} ${before + 1}`);
  });
  const directory = mkdtempSync(join(tmpdir(), 'comicran-timeline-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const { record, report } = await runClient(clientOptions(target, { rate: '100', duration: '0.1', grace: '0.1' }));
  const file = join(directory, 'run.csv');
  writeTimeline(file, record, report.startUnixUs);
  const timeline = readTimeline(file);
  assert.equal(timeline.startUnixUs, report.startUnixUs);
  assert.deepEqual(
    timeline.entries.map(({ index, dueUs, counter }) => [index, dueUs, counter]),
    Array.from({ length: 10 }, (_, i) => [i, i * 10_000, i === 5 ? undefined : i + 1]),
  );
  for (const { dueUs, sentUs, answeredUs } of timeline.entries) {
    assert.ok(sentUs >= dueUs && (answeredUs === undefined || answeredUs > sentUs));
  }
});

const COMICRAN = join(import.meta.dirname, '../../bin/comicran');

async function comicran(
  t: TestContext,
  args: readonly string[],
  stopAfterMs?: number,
): Promise<[number, string, string]> {
  const child = spawn(COMICRAN, ['client', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  const said = { out: '', err: '' };
  child.stdout.on('data', (chunk) => (said.out += String(chunk)));
  child.stderr.on('data', (chunk) => (said.err += String(chunk)));
  if (stopAfterMs !== undefined) setTimeout(() => child.kill('SIGINT'), stopAfterMs);
  const [code] = (await once(child, 'close')) as [number];
  return [code, said.out, said.err];
}

test('the command reads windows when its run is over, and reports their requests apart from the others', async (t) => {
  const { target } = await serve(t, (number, before, reply) => reply(`${number * number} ${before + 1}`));
  const directory = mkdtempSync(join(tmpdir(), 'comicran-windows-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'windows');
  const running = comicran(t, [target, '--rate', '500', '--duration', '1.5', '--windows', file, '--json']);
  // Written while the run goes on; the last window is longer than any run can be.
  const window = (label: string, fromUnixUs: number, toUnixUs: number): string =>
    JSON.stringify({ label, fromUnixUs, toUnixUs });
  const now = Date.now() * 1000;
  writeFileSync(file, `${window('past', 0, 1)}\n${window('now', now, now + 600e6)}\n`);
  const [code, out] = await running;
  assert.equal(code, 0);
  const { windows, sent } = JSON.parse(out);
  assert.equal(windows.byLabel.past.sent, 0);
  assert.equal(windows.byLabel.now.sent + windows.control.sent, sent);
  assert.ok(windows.byLabel.now.sent > 0);
  const [failed, , said] = await comicran(t, [target, '--duration', '0.1', '--windows', join(directory, 'none')]);
  assert.equal(failed, 1);
  assert.match(said, /cannot read the windows/);
});

test('the verb prints one line of JSON, and an interrupted run says what it saw', async (t) => {
  const { target } = await serve(t, (number, before, reply) => reply(`${number * number} ${before + 1}`));
  const [code, out] = await comicran(
    t,
    [target, '--rate', '200', '--duration', '60', '--grace', '0.1', '--json'],
    2000,
  );
  assert.equal(code, 0);
  assert.equal(out.trim().split('\n').length, 1);
  const report = JSON.parse(out) as ClientReport;
  assert.deepEqual([report.interrupted, report.exactlyOnce, report.lost], [true, true, 0]);
  assert.ok(report.sent > 0 && report.sent < 1000);
});

test('with --hiccups the latencies outside platform stalls stand beside all latencies', async (t) => {
  const { target } = await serve(t, (number, before, reply) => reply(`${number * number} ${before + 1}`));
  const words = [target, '--rate', '100', '--duration', '0.5', '--grace', '0.1', '--hiccups'];
  const [code, out] = await comicran(t, [...words, '--json']);
  assert.equal(code, 0);
  const { answered, undisturbed, platform } = JSON.parse(out);
  assert.equal(answered, 50);
  assert.ok(undisturbed.leftOut >= 0 && undisturbed.leftOut <= answered);
  assert.ok(platform.durationMs >= 500 && platform.cpus >= 1);
  const text = await comicran(t, words);
  assert.match(text[1], /^latency without [0-9]+ in platform stalls .*\n[\s\S]*\nplatform: .*stolen/m);
  // A run that cannot begin ends all the same.
  assert.equal((await comicran(t, ['no-such-host.invalid:1', '--hiccups']))[0], 1);
});

test('where nothing at all was answered, the exit code and a sentence say so beside the report', async (t) => {
  const silent = createSocket('udp4').bind(0, '127.0.0.1');
  await once(silent, 'listening');
  t.after(() => silent.close());
  const target = `127.0.0.1:${silent.address().port}`;
  const words = [target, '--rate', '50', '--duration', '0.1', '--grace', '0.1', '--json'];
  const [code, out, err] = await comicran(t, words);
  assert.equal(code, 1);
  assert.equal(JSON.parse(out).answered, 0);
  assert.match(err, new RegExp(`^comicran: ${target} answered none of \\d+ requests\n {2}next: `));
});

test('bad arguments are said in one sentence, with exit code 1', async (t) => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [['127.0.0.1'], /^comicran: '127\.0\.0\.1' is not HOST:PORT\n {2}next: /],
    [['127.0.0.1:0'], /is not HOST:PORT/],
    [['127.0.0.1:65536'], /is not HOST:PORT/],
    [['fd00::1:53'], /is not HOST:PORT/],
    [['127.0.0.1:5006', '--rate', '0'], /--rate '0' is not a number from 0\.01 to 100000/],
    [['127.0.0.1:5006', '--rate', 'fast'], /--rate 'fast'/],
    [['127.0.0.1:5006', '--duration', '-1'], /--duration '-1'/],
    [['127.0.0.1:5006', '--digits', '5'], /--digits '5' is not a number from 17 to 32000/],
    [['127.0.0.1:5006', '--rate', '100000', '--duration', '600000'], /more than 20000000\n {2}next: /],
    [['no-such-host.invalid:5006'], /'no-such-host\.invalid' cannot be resolved/],
  ];
  for (const [args, expected] of cases) {
    const [code, out, err] = await comicran(t, args);
    assert.deepEqual([code, out], [1, ''], args.join(' '));
    assert.match(err, expected);
  }
});
