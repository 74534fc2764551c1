/** The server as its users meet it: a process that answers datagrams. Needs no root. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';

const root = join(import.meta.dirname, '..', '..');
const PROGRAM = [join(root, 'src/traffic/server/main.ts')];
const VERB = [join(root, 'src/cli/main.ts'), 'server'];

type Server = { readonly child: ChildProcess; readonly port: number };

async function firstLine(child: ChildProcess): Promise<string> {
  let text = '';
  for await (const chunk of child.stdout!) {
    text += String(chunk);
    if (text.includes('\n')) return text;
  }
  return text;
}

async function start(t: TestContext, program: readonly string[], args: readonly string[]): Promise<Server> {
  const child = spawn(process.execPath, [...program, '--host', '127.0.0.1', '--port', '0', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  const [, port] = /^listening on 127\.0\.0\.1:([0-9]+)\n$/.exec(await firstLine(child)) ?? [];
  assert.ok(port !== undefined, 'the server says where it listens');
  return { child, port: Number(port) };
}

/** Sends each request when the one before has been answered. */
async function ask(port: number, requests: readonly (string | Buffer)[]): Promise<string[]> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 20 });
  try {
    const answers: string[] = [];
    for (const request of requests) {
      const answered = once(socket, 'message') as Promise<[Buffer]>;
      socket.send(request, port, '127.0.0.1');
      answers.push((await answered)[0].toString('latin1'));
    }
    return answers;
  } finally {
    socket.close();
  }
}

async function stop(server: Server, signal: NodeJS.Signals): Promise<unknown[]> {
  const exit = once(server.child, 'exit');
  server.child.kill(signal);
  return await exit;
}

for (const [name, program] of [
  ['the program', PROGRAM],
  ['comicran server', VERB],
] as const) {
  test(`${name} answers squares and errors, and SIGTERM ends it with 0`, async (t) => {
    const server = await start(t, program, []);
    assert.deepEqual(await ask(server.port, ['7', '-12', '123456789123456789', '']), [
      '49',
      '144',
      '15241578780673678515622620750190521',
      'error: the datagram is empty where an integer is expected',
    ]);
    assert.deepEqual(await stop(server, 'SIGTERM'), [0, null]);
  });
}

test('a counting server counts the integers that it served, and those alone', async (t) => {
  const server = await start(t, PROGRAM, ['--count', '--memory', '1M', '--touch', '3']);
  assert.deepEqual(await ask(server.port, ['1', 'x', '2', '', '3']), [
    '1 1',
    'error: not an integer',
    '4 2',
    'error: the datagram is empty where an integer is expected',
    '9 3',
  ]);
  assert.deepEqual(await stop(server, 'SIGINT'), [0, null]);
});

/** Everything that may be asked, in an order that is the same each time. */
const MIXED = Array.from({ length: 400 }, (_, i) => ['x', String(i), `-${i}`.repeat(i % 7), '9'.repeat(i)][i % 4]!);

test('two servers that are asked the same in the same order answer the same, byte for byte', async (t) => {
  const args = ['--count', '--memory', '1M', '--touch', '3'];
  // V8 draws the seed of its hash tables anew for each process; here they differ for certain.
  const [one, other] = [
    await start(t, ['--hash-seed=1', ...PROGRAM], args),
    await start(t, ['--hash-seed=2', ...PROGRAM], [...args, '--answer', 'steady']),
  ];
  assert.deepEqual(await ask(one.port, MIXED), await ask(other.port, MIXED));
});

for (const how of ['clock', 'random']) {
  test(`a server whose answers depend on ${how} gives none a second time`, async (t) => {
    const server = await start(t, PROGRAM, ['--count', '--answer', how]);
    const answers = await ask(server.port, ['3', '3', '3', 'x']);
    for (const [index, text] of answers.slice(0, 3).entries()) {
      assert.match(text, new RegExp(`^9 ${index + 1} ${how}=[0-9a-f]+$`));
    }
    const words = answers.slice(0, 3).map((text) => text.split(' ')[2]);
    assert.equal(new Set(words).size, 3);
    assert.equal(answers[3], 'error: not an integer');
  });
}

test('a heartbeat comes by itself, from a port of its own', async (t) => {
  const listener = createSocket('udp4');
  t.after(() => listener.close());
  listener.bind(0, '127.0.0.1');
  await once(listener, 'listening');
  const server = await start(t, PROGRAM, ['--heartbeat', `127.0.0.1:${listener.address().port}/10`]);
  const beats: string[] = [];
  for (let n = 0; n < 3; n++) {
    const [beat, from] = (await once(listener, 'message')) as [Buffer, { port: number }];
    beats.push(beat.toString());
    assert.notEqual(from.port, server.port);
  }
  const first = Number(beats[0]!.split(' ')[1]);
  assert.deepEqual(
    beats,
    [0, 1, 2].map((n) => `beat ${first + n}`),
  );
  assert.deepEqual(await stop(server, 'SIGTERM'), [0, null]);
});

test('memory that is touched by the second changes without a request, and answers stay as they are', async (t) => {
  const server = await start(t, PROGRAM, ['--memory', '16M', '--touch', '8M/s']);
  const { readFileSync, writeFileSync } = await import('node:fs');
  if (process.getuid?.() === 0) {
    const dirty = (): number => {
      const smaps = readFileSync(`/proc/${server.child.pid}/smaps_rollup`, 'utf8');
      return Number(/^Referenced:\s+([0-9]+) kB$/m.exec(smaps)![1]);
    };
    // Takes the reference marks away (proc(5)): what is touched afterwards has one again.
    writeFileSync(`/proc/${server.child.pid}/clear_refs`, '1');
    const before = dirty();
    const deadline = performance.now() + 10_000;
    while (dirty() < before + 2048 && performance.now() < deadline) await new Promise((r) => setTimeout(r, 50));
    assert.ok(dirty() >= before + 2048, `${dirty()} kB referenced, ${before} before`);
  }
  assert.deepEqual(await ask(server.port, ['7']), ['49']);
});

test('answers as large as a datagram can be arrive whole', async (t) => {
  const server = await start(t, PROGRAM, ['--count']);
  const [square, refused, next] = await ask(server.port, [
    `1${'0'.repeat(32_752)}`,
    `1${'0'.repeat(32_753)}`,
    Buffer.from('3'),
  ]);
  assert.equal(square, `1${'0'.repeat(65_504)} 1`);
  assert.match(refused!, /^error: the square of an integer of 32754 digits does not fit/);
  assert.equal(next, '9 2');
});

test('the memory is resident', async (t) => {
  const server = await start(t, PROGRAM, ['--memory', '64M']);
  const { readFileSync } = await import('node:fs');
  const rss = /^VmRSS:\s+([0-9]+) kB$/m.exec(readFileSync(`/proc/${server.child.pid}/status`, 'utf8'));
  assert.ok(Number(rss![1]) > 64 * 1024, `${rss![1]} kB are resident`);
});

test('bad options and a port in use are said in one sentence, with exit code 1', async (t) => {
  const server = await start(t, PROGRAM, []);
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [['--port', '70000'], /^server: --port '70000' is not a whole number from 0 to 65535\n$/],
    [['--memory', '64X'], /^server: --memory '64X' is not a size; /],
    [['--memory', '999999999G'], /^server: --memory '999999999G' is not a size; /],
    [['--touch', '1'], /^server: --touch writes pages of the memory that --memory holds/],
    [['--answer', 'moon'], /^server: --answer 'moon' is none of steady, clock, random\n$/],
    [['--heartbeat', 'localhost:1'], /^server: --heartbeat 'localhost:1' is not ADDRESS:PORT/],
    [['--host', 'localhost'], /^server: --host 'localhost' is not an IPv4 or IPv6 address\n$/],
    [['--nonsense'], /^server: .*--nonsense.*\n$/],
    [['--host', '127.0.0.1', '--port', String(server.port)], /^server: .*EADDRINUSE.*\n$/],
  ];
  for (const [args, expected] of cases) {
    const child = spawn(process.execPath, [...PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    child.stderr.on('data', (chunk) => {
      said += String(chunk);
    });
    const [code] = (await once(child, 'close')) as [number];
    assert.equal(code, 1, args.join(' '));
    assert.match(said, expected);
  }
});
