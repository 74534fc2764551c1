import type { DescService } from '@bufbuild/protobuf';
import type { CallOptions, Client } from '@connectrpc/connect';
import { assert } from '../base/assert.ts';
import type { ComicranError } from '../base/errors.ts';

/** Gets the caller's own signal, to tell a call that it ended from one that broke. */
type Translate = (thrown: unknown, signal: AbortSignal | undefined) => ComicranError;
type Unary = (request: unknown, options?: CallOptions) => Promise<unknown>;
type ServerStream = (request: unknown, options?: CallOptions) => AsyncIterable<unknown>;

async function* translatedStream(
  stream: AsyncIterable<unknown>,
  translate: (thrown: unknown) => ComicranError,
): AsyncGenerator<unknown> {
  try {
    yield* stream;
  } catch (thrown) {
    throw translate(thrown);
  }
}

/**
 * A client with the same methods whose failures are translated and whose unary calls have a deadline. (An interceptor
 * cannot do it: whatever it throws, the transport makes a ConnectError of it.)
 */
export function translateErrors<S extends DescService>(
  service: S,
  client: Client<S>,
  translate: Translate,
  deadlineMs: number,
): Client<S> {
  const methods = client as Record<string, unknown>;
  const translated = service.methods.map((method) => {
    const name = method.localName;
    if (method.methodKind === 'unary') {
      const call = methods[name] as Unary;
      const unary: Unary = async (request, options) => {
        try {
          return await call(request, { timeoutMs: deadlineMs, ...options });
        } catch (thrown) {
          throw translate(thrown, options?.signal);
        }
      };
      return [name, unary] as const;
    }
    // One that streams both ways takes a stream for its request; its answers are no other.
    const { methodKind } = method;
    assert(methodKind !== 'client_streaming', `a ${methodKind} method in the contract: ${name}`);
    const call = methods[name] as ServerStream;
    const stream: ServerStream = (request, options) =>
      translatedStream(call(request, options), (thrown) => translate(thrown, options?.signal));
    return [name, stream] as const;
  });
  return Object.fromEntries(translated) as Client<S>;
}
