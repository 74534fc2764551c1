/**
 * Calls to a daemon over HTTP/2 and mutual TLS 1.3. One connection carries all calls to it; it is opened by the first
 * call or by `warm`, kept alive with pings, and opened again by the next call after it broke.
 */
import type { DescService } from '@bufbuild/protobuf';
import { type Client, createClient } from '@connectrpc/connect';
import { createConnectTransport, Http2SessionManager } from '@connectrpc/connect-node';
import type { ComicranError } from '../base/errors.ts';
import { type CallTarget, explain } from './call-errors.ts';
import { formatEndpoint, parseEndpoint } from './endpoint.ts';
import type { Identity } from './identity.ts';
import { MAX_MESSAGE_BYTES } from './limits.ts';
import { type Peer, peerName } from './names.ts';
import { translateErrors } from './translated-client.ts';

const DEFAULT_DEADLINE_MS = 10_000;
const CONNECT_TIMEOUT_MS = 5_000;
const PING_INTERVAL_MS = 10_000;
const PING_TIMEOUT_MS = 3_000;
/** A daemon's connections stay open between migrations: the largest delay that a timer takes (24 days). */
const IDLE_CONNECTION_TIMEOUT_MS = 2 ** 31 - 1;

export type ConnectOptions = {
  /** `IP:PORT` */
  readonly endpoint: string;
  readonly identity: Identity;
  /** Who must answer there. */
  readonly peer: Peer;
  /** Of a unary call without a `timeoutMs` of its own. Streams have none by themselves. */
  readonly defaultDeadlineMs?: number;
  /** How many times as long as usual everything may take, where machines are slow; absent: 1. */
  readonly patience?: number;
};

export interface Connection<S extends DescService> {
  /**
   * Every failure of a call is a ComicranError: what the handler threw, with the same code, message and hint;
   * `vm.unreachable` or `sdn.unreachable` where no answer came (a call that broke in the middle may have been carried
   * out); `deadline`; `aborted` where the caller's signal ended it; `pki.invalid` where a certificate was refused.
   */
  readonly client: Client<S>;
  /** Opens the connection and checks it, so that the next call pays for no handshake. */
  warm(): Promise<void>;
  /** Ends the connection and every call on it. A program with an open connection does not end by itself. */
  close(): void;
}

/**
 * One exchange at the level of HTTP, whatever the answer (it is 404). The handshake alone says too little: with TLS 1.3 a
 * client is through before the server has looked at its certificate.
 */
async function probe(sessionManager: Http2SessionManager, timeoutMs: number): Promise<void> {
  const done = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    sessionManager.abort();
    done.reject(new Error(`no answer within ${timeoutMs} ms`));
  }, timeoutMs);
  const opening = sessionManager.request('GET', '/', {}, {}).then((stream) => {
    stream.on('error', done.reject);
    stream.on('close', () => done.reject(new Error('the connection was closed')));
    stream.on('response', () => {
      stream.resume();
      done.resolve();
    });
    stream.end();
  });
  opening.catch(done.reject);
  try {
    await done.promise;
  } finally {
    clearTimeout(timer);
  }
}

export function connect<S extends DescService>(service: S, options: ConnectOptions): Connection<S> {
  const { identity, peer, patience = 1 } = options;
  const endpoint = formatEndpoint(parseEndpoint(options.endpoint));
  const target: CallTarget = { peer, endpoint };
  const baseUrl = `https://${endpoint}`;
  const sessionManager = new Http2SessionManager(
    baseUrl,
    {
      pingIntervalMs: PING_INTERVAL_MS,
      pingIdleConnection: true,
      pingTimeoutMs: PING_TIMEOUT_MS * patience,
      idleConnectionTimeoutMs: IDLE_CONNECTION_TIMEOUT_MS,
    },
    {
      ca: identity.ca,
      cert: identity.certificate,
      key: identity.key,
      // The endpoint is an address; the certificate is for a name, which Node checks when it is given here.
      servername: peerName(peer),
      minVersion: 'TLSv1.3',
    },
  );
  const transport = createConnectTransport({
    baseUrl,
    httpVersion: '2',
    sessionManager,
    acceptCompression: [],
    readMaxBytes: MAX_MESSAGE_BYTES,
    writeMaxBytes: MAX_MESSAGE_BYTES,
  });
  const isConnecting = (): boolean => sessionManager.state() === 'connecting';
  const translate = (thrown: unknown, signal?: AbortSignal): ComicranError =>
    explain(thrown, target, { connecting: isConnecting(), abortedByCaller: signal?.aborted === true });

  return {
    client: translateErrors(
      service,
      createClient(service, transport),
      translate,
      options.defaultDeadlineMs ?? DEFAULT_DEADLINE_MS * patience,
    ),
    async warm() {
      try {
        await probe(sessionManager, CONNECT_TIMEOUT_MS * patience);
      } catch (thrown) {
        throw translate(thrown);
      }
    },
    close() {
      // A stream that closes behind the end of its session starts the manager's pings anew, which then throw (connect-node
      // 2.2.0): those of calls that have been answered close within this turn.
      setImmediate(() => sessionManager.abort());
    },
  };
}
