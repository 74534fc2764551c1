/**
 * Serves RPC handlers over HTTP/2 and mutual TLS 1.3. A caller without a certificate of our authority does not get past
 * the handshake; one whose certificate names nobody we know, or who may not call the method, is refused before its
 * request is read. What a handler throws as a ComicranError arrives at the caller as the same error.
 */
import { createSecureServer, type Http2Session, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { TLSSocket } from 'node:tls';
import {
  type ConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
  type Interceptor,
} from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { defined } from '../base/assert.ts';
import { ComicranError, messageOf } from '../base/errors.ts';
import { refusal, refusalToActFor } from './authorisation.ts';
import { formatEndpoint, parseEndpoint } from './endpoint.ts';
import { toRpcError } from './failures.ts';
import { dnsNames, type Identity } from './identity.ts';
import { MAX_MESSAGE_BYTES } from './limits.ts';
import { type Peer, parsePeerName } from './names.ts';

const DEFAULT_CLOSE_GRACE_MS = 2_000;

const peerKey = createContextKey<Peer | undefined>(undefined, { description: 'the caller, by its certificate' });

/** Who calls, by its certificate. */
function callerOf(context: HandlerContext): Peer {
  return defined(context.values.get(peerKey), 'the caller of an accepted call');
}

/** @throws ComicranError peer.refused where the caller may not act in the name of this machine. */
export function requireActsFor(context: HandlerContext, vm: string): void {
  const reason = refusalToActFor(callerOf(context), vm);
  if (reason !== undefined) throw new ComicranError('peer.refused', reason);
}

export type ServeOptions = {
  /** `IP:PORT`; port 0 takes one that is free. */
  readonly listen: string;
  readonly identity: Identity;
  readonly routes: (router: ConnectRouter) => void;
  /** @returns undefined, or why the peer may not; absent: the rule of the house (authorisation.ts). */
  readonly authorize?: (peer: Peer, service: string, method: string) => string | undefined;
  /** Told of a handler's failure that is a bug (not a ComicranError); the caller hears only that there was one. */
  readonly onBug: (call: string, thrown: unknown) => void;
  /** Told of a connection that did not get past the handshake: from where, and why. The caller sees it break. */
  readonly onRefused?: (from: string, reason: string) => void;
};

export interface Server {
  /** `IP:PORT` as it is listened on. */
  readonly endpoint: string;
  /**
   * Takes no new connection or call, lets running calls end (a stream's `context.signal` is aborted at once) and cuts
   * what is left after the grace. Idempotent.
   */
  close(graceMs?: number): Promise<void>;
}

function peerOfSession(session: ServerHttp2Session): Peer | undefined {
  const certificate = session.socket instanceof TLSSocket ? session.socket.getPeerX509Certificate() : undefined;
  const peers = certificate === undefined ? [] : dnsNames(certificate).map(parsePeerName);
  return peers.find((peer) => peer !== undefined);
}

async function* translatedStream<T>(stream: AsyncIterable<T>, translate: (thrown: unknown) => unknown) {
  try {
    yield* stream;
  } catch (thrown) {
    throw translate(thrown);
  }
}

/** Puts what handlers throw into the form that travels. */
function errorInterceptor(onBug: ServeOptions['onBug']): Interceptor {
  return (next) => async (request) => {
    const call = `${request.service.name}.${request.method.name}`;
    const translate = (thrown: unknown): unknown => {
      if (thrown instanceof ComicranError) return toRpcError(thrown);
      if (!request.signal.aborted) onBug(call, thrown);
      return thrown;
    };
    try {
      const response = await next(request);
      return response.stream ? { ...response, message: translatedStream(response.message, translate) } : response;
    } catch (thrown) {
      throw translate(thrown);
    }
  };
}

/** Resolves when the server listens. */
export async function serve(options: ServeOptions): Promise<Server> {
  const { identity, authorize = refusal } = options;
  const { address, port } = parseEndpoint(options.listen);
  const stopping = new AbortController();
  const sessions = new Map<Http2Session, Peer | undefined>();
  const handler = connectNodeAdapter({
    routes: options.routes,
    interceptors: [errorInterceptor(options.onBug)],
    readMaxBytes: MAX_MESSAGE_BYTES,
    writeMaxBytes: MAX_MESSAGE_BYTES,
    acceptCompression: [],
    shutdownSignal: stopping.signal,
    contextValues: (request) => {
      const session = 'stream' in request ? request.stream.session : undefined;
      return createContextValues().set(peerKey, session === undefined ? undefined : sessions.get(session));
    },
    requestGate: (context) => {
      const peer = context.values.get(peerKey);
      const reason =
        peer === undefined
          ? 'the certificate of the caller names nobody who may call'
          : authorize(peer, context.service.name, context.method.name);
      if (reason !== undefined) throw toRpcError(new ComicranError('peer.refused', reason));
    },
  });
  const server = createSecureServer(
    {
      ca: identity.ca,
      cert: identity.certificate,
      key: identity.key,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.3',
      allowHTTP1: false,
    },
    handler,
  );
  server.on('session', (session) => {
    sessions.set(session, peerOfSession(session));
    session.once('close', () => sessions.delete(session));
  });
  server.on('tlsClientError', (error, socket) => {
    const reason: unknown = socket.authorizationError ?? error.message;
    options.onRefused?.(socket.remoteAddress ?? 'an unknown address', String(reason).trim());
  });
  // A peer that hangs up in the middle is its own affair; the call on this side sees its signal aborted.
  server.on('sessionError', () => {});

  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const problem = `cannot listen on ${options.listen}: ${messageOf(cause)}`;
      reject(new ComicranError('usage', problem, { cause, hint: 'Choose another port, or stop what listens there.' }));
    });
    server.listen(port, address, resolve);
  });

  const closed = Promise.withResolvers<void>();
  const close = async (graceMs: number): Promise<void> => {
    server.close(() => closed.resolve());
    stopping.abort(new ComicranError('aborted', 'the daemon is being stopped'));
    for (const session of sessions.keys()) session.close();
    const cut = setTimeout(() => {
      for (const session of sessions.keys()) session.destroy();
    }, graceMs);
    await closed.promise;
    clearTimeout(cut);
  };
  let closing: Promise<void> | undefined;
  return {
    endpoint: formatEndpoint({ address, port: (server.address() as AddressInfo).port }),
    close: (graceMs = DEFAULT_CLOSE_GRACE_MS) => {
      closing ??= close(graceMs);
      return closing;
    },
  };
}
