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
