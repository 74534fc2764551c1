/** Calls between programs, over loopback: who gets in, what failures look like, how a server ends. Needs no root. */
import assert from 'node:assert/strict';
import { connect as http2Connect } from 'node:http2';
import { createServer } from 'node:net';
import { after, afterEach, before, test } from 'node:test';
import type { DescService } from '@bufbuild/protobuf';
import { type Connection, connect } from '../../src/api/client.ts';
import { parseEndpoint } from '../../src/api/endpoint.ts';
import { Sdaemon, Sdn } from '../../src/api/gen/comicran_pb.ts';
import { loadIdentity } from '../../src/api/identity.ts';
import type { Peer } from '../../src/api/names.ts';
import { type Server, serve } from '../../src/api/server.ts';
import { ComicranError } from '../../src/base/errors.ts';
import { failureOf, makePki, removeDirectory, testRoutes } from './support.ts';

const SDN: Peer = { role: 'sdn' };
const VM2: Peer = { role: 'sdaemon', vm: 'vm2' };

let pki: string;
let foreignPki: string;
let sdn: Server;
let vm2: Server;
const bugs: string[] = [];
const refused: string[] = [];
const onRefused = (_from: string, reason: string): void => void refused.push(reason);
const onBug = (call: string, thrown: unknown): void => void bugs.push(`${call}: ${thrown}`);
const open: Connection<DescService>[] = [];

function dial<S extends DescService>(service: S, server: Server, peer: Peer, as: string, from = pki): Connection<S> {
  const connection = connect(service, { endpoint: server.endpoint, identity: loadIdentity(from, as), peer });
  open.push(connection);
  return connection;
}

before(async () => {
  pki = await makePki();
  foreignPki = await makePki();
  const common = { listen: '127.0.0.1:0', routes: testRoutes, onBug, onRefused };
  sdn = await serve({ ...common, identity: loadIdentity(pki, 'sdn') });
  vm2 = await serve({ ...common, identity: loadIdentity(pki, 'vm2') });
});
afterEach(() => {
  for (const connection of open.splice(0)) connection.close();
});
after(async () => {
  await Promise.all([sdn.close(), vm2.close()]);
  removeDirectory(pki);
  removeDirectory(foreignPki);
});

test('a call is answered', async () => {
  const { client } = dial(Sdn, sdn, SDN, 'vm1');
  const { location } = await client.locate({ sandbox: 'known' });
  assert.equal(location?.epoch, 7n);
});

test('a ComicranError arrives as the same error: code, message, hint, causes', async () => {
  const { client } = dial(Sdn, sdn, SDN, 'smanager');
  await assert.rejects(client.locate({ sandbox: 'nowhere' }), (thrown) => {
    assert.ok(thrown instanceof ComicranError);
    assert.equal(thrown.code, 'sandbox.unknown');
    assert.equal(thrown.message, "there is no sandbox 'nowhere'");
    assert.equal(thrown.hint, 'Look at the list.');
    assert.equal((thrown.cause as Error).message, 'outer');
    assert.equal(((thrown.cause as Error).cause as Error).message, 'inner');
    return true;
  });
});

test('a failure at the end of a stream arrives behind what the stream carried', async () => {
  const { client } = dial(Sdaemon, vm2, VM2, 'smanager');
  const lines: string[] = [];
  const reading = (async () => {
    for await (const { text } of client.logs({ name: 'failing', tail: 2 })) lines.push(text);
  })();
  assert.deepEqual(await failureOf(reading), {
    code: 'sandbox.not-running',
    message: 'it has ended',
    hint: 'Start it.',
  });
  assert.deepEqual(lines, ['failing 0', 'failing 1']);
});

test("a bug in a handler is told to the server's log, and its details to nobody else", async () => {
  const { client } = dial(Sdn, sdn, SDN, 'smanager');
  const failure = await failureOf(client.locate({ sandbox: 'bug' }));
  assert.equal(failure.code, 'peer.refused');
  assert.doesNotMatch(JSON.stringify(failure), /secret/);
  assert.deepEqual(bugs.splice(0), ['Sdn.Locate: TypeError: secret detail']);
});

test('a method that the other side does not have is a matter of versions', async () => {
  const { client } = dial(Sdn, sdn, SDN, 'smanager');
  assert.equal((await failureOf(client.listServices({}))).code, 'peer.protocol');
});

test('a deadline ends a call', async () => {
  const { client, warm } = dial(Sdn, sdn, SDN, 'smanager');
  // On a busy machine the handshake alone may take longer than the call is given: that would be unreachable.
  await warm();
  assert.equal((await failureOf(client.locate({ sandbox: 'slow' }, { timeoutMs: 50 }))).code, 'deadline');
});

test("the caller's signal ends a call and a stream", async () => {
  const abort = new AbortController();
  const { client } = dial(Sdn, sdn, SDN, 'smanager');
  const failing = failureOf(client.locate({ sandbox: 'stuck' }, { signal: abort.signal }));
  setTimeout(() => abort.abort(), 30);
  assert.equal((await failing).code, 'aborted');

  const again = new AbortController();
  const sdaemon = dial(Sdaemon, vm2, VM2, 'smanager');
  const reading = (async () => {
    for await (const _line of sdaemon.client.logs({ name: 'endless', tail: 1 }, { signal: again.signal }))
      again.abort();
  })();
  assert.equal((await failureOf(reading)).code, 'aborted');
});

test('nobody listens: unreachable, by the kind of the peer', async () => {
  const closed = await serve({ listen: '127.0.0.1:0', identity: loadIdentity(pki, 'sdn'), routes: testRoutes, onBug });
  await closed.close();
  const failure = await failureOf(dial(Sdn, closed, SDN, 'vm1').client.locate({ sandbox: 'known' }));
  assert.equal(failure.code, 'sdn.unreachable');
  assert.match(failure.message, /the sdn at 127\.0\.0\.1:\d+ does not answer/);
  assert.match(failure.hint ?? '', /comicran sdn/);
  assert.equal((await failureOf(dial(Sdaemon, closed, VM2, 'vm1').client.info({}))).code, 'vm.unreachable');
  assert.equal((await failureOf(dial(Sdaemon, closed, VM2, 'vm1').warm())).code, 'vm.unreachable');
});

test('something listens that never answers: unreachable, not merely late', async () => {
  const silent = createServer(() => {});
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const address = silent.address();
  assert.ok(address !== null && typeof address === 'object');
  const connection = connect(Sdn, {
    endpoint: `127.0.0.1:${address.port}`,
    identity: loadIdentity(pki, 'vm1'),
    peer: SDN,
    defaultDeadlineMs: 200,
  });
  try {
    assert.equal((await failureOf(connection.client.locate({ sandbox: 'known' }))).code, 'sdn.unreachable');
  } finally {
    connection.close();
    silent.close();
  }
});

test('a connection that broke is opened again by the next call', async () => {
  const first = await serve({ listen: '127.0.0.1:0', identity: loadIdentity(pki, 'sdn'), routes: testRoutes, onBug });
  const { client } = dial(Sdn, first, SDN, 'vm1');
  await client.locate({ sandbox: 'known' });
  await first.close();
  assert.equal((await failureOf(client.locate({ sandbox: 'known' }))).code, 'sdn.unreachable');
  const second = await serve({
    listen: first.endpoint,
    identity: loadIdentity(pki, 'sdn'),
    routes: testRoutes,
    onBug,
  });
  try {
    assert.equal((await client.locate({ sandbox: 'known' })).location?.vm, 'vm1');
  } finally {
    await second.close();
  }
});

test('warm opens the connection: the calls behind it make no handshake', async () => {
  const connection = dial(Sdn, sdn, SDN, 'vm1');
  await connection.warm();
  await connection.warm();
  assert.equal((await connection.client.locate({ sandbox: 'known' })).location?.vm, 'vm1');
});

test('a server that shows another name than was wanted is refused', async () => {
  const failure = await failureOf(dial(Sdn, vm2, SDN, 'vm1').client.locate({ sandbox: 'known' }));
  assert.equal(failure.code, 'pki.invalid');
  assert.match(failure.message, /is not the sdn/);
  assert.equal((await failureOf(dial(Sdn, vm2, SDN, 'vm1').warm())).code, 'pki.invalid');
  const otherVm = dial(Sdaemon, vm2, { role: 'sdaemon', vm: 'vm1' }, 'smanager');
  assert.match((await failureOf(otherVm.client.info({}))).message, /is not the sdaemon of vm1/);
});

test('an authority that is not ours is refused, on either side', async () => {
  const failure = await failureOf(dial(Sdn, sdn, SDN, 'vm1', foreignPki).client.locate({ sandbox: 'known' }));
  assert.equal(failure.code, 'pki.invalid');
  // A client that trusts the server, with a certificate that the server does not trust.
  const mixed = { ...loadIdentity(foreignPki, 'vm1'), ca: loadIdentity(pki, 'vm1').ca };
  const connection = connect(Sdn, { endpoint: sdn.endpoint, identity: mixed, peer: SDN });
  try {
    refused.length = 0;
    for (const attempt of [connection.warm(), connection.client.locate({ sandbox: 'known' })]) {
      assert.match((await failureOf(attempt)).code, /^(pki\.invalid|sdn\.unreachable)$/);
    }
    assert.ok(refused.length > 0, 'the server says whom it refused');
  } finally {
    connection.close();
  }
});

test('no client certificate, no TLS 1.3: nobody in', async () => {
  const { ca, certificate: cert, key } = loadIdentity(pki, 'vm1');
  const attempt = (options: object): Promise<string> =>
    new Promise((resolve) => {
      const { address, port } = parseEndpoint(sdn.endpoint);
      const session = http2Connect(`https://${address}:${port}`, { ca, servername: 'sdn.comicran', ...options });
      session.on('error', (error) => resolve(`refused: ${error.message}`));
      session.on('close', () => resolve('refused: closed'));
      const request = session.request({ ':path': '/comicran.v1.Sdn/Locate', ':method': 'POST' });
      request.on('error', (error) => resolve(`refused: ${error.message}`));
      request.on('response', (headers) => {
        session.destroy();
        resolve(`answered ${headers[':status']}`);
      });
      request.end();
    });
  assert.match(await attempt({}), /^refused/);
  assert.match(await attempt({ cert, key, maxVersion: 'TLSv1.2' }), /^refused/);
  // The same by hand with a certificate gets as far as HTTP: the two above failed for their own reason.
  assert.match(await attempt({ cert, key }), /^answered/);
});

test('an sdaemon may call of another sdaemon only what a migration needs', async () => {
  const { client } = dial(Sdaemon, vm2, VM2, 'vm1');
  await client.info({});
  assert.equal((await failureOf(client.start({ configJson: '{}' }))).code, 'peer.refused');
  const reading = (async () => {
    for await (const _line of client.logs({ name: 'x', tail: 1 }));
  })();
  const failure = await failureOf(reading);
  assert.equal(failure.code, 'peer.refused');
  assert.match(failure.message, /the sdaemon of vm1 may not call Sdaemon\.Logs/);
});

test('a server that closes lets running calls end and cuts what does not', async () => {
  const server = await serve({ listen: '127.0.0.1:0', identity: loadIdentity(pki, 'sdn'), routes: testRoutes, onBug });
  const { client } = dial(Sdn, server, SDN, 'smanager');
  await client.locate({ sandbox: 'known' });
  const slow = client.locate({ sandbox: 'slow' });
  const stuck = client.locate({ sandbox: 'stuck' });
  await new Promise((resolve) => setTimeout(resolve, 50));
  await server.close(5_000);
  await slow;
  await stuck; // its handler heard of the end by its signal
  await server.close();
});

test('an endpoint that is taken, or none, is said so', async () => {
  const identity = loadIdentity(pki, 'sdn');
  const taken = await failureOf(serve({ listen: sdn.endpoint, identity, routes: testRoutes, onBug }));
  assert.equal(taken.code, 'usage');
  assert.match(taken.message, /cannot listen on 127\.0\.0\.1:\d+/);
  assert.equal((await failureOf(serve({ listen: 'localhost', identity, routes: testRoutes, onBug }))).code, 'usage');
});
