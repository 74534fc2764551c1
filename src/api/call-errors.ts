/** What a failed call means to an operator. */
import { Code, ConnectError } from '@connectrpc/connect';
import { ComicranError } from '../base/errors.ts';
import { fromRpcError } from './failures.ts';
import { describePeer, type Peer } from './names.ts';

export type CallTarget = { readonly peer: Peer; readonly endpoint: string };

/** The `code` properties of an error and of everything that caused it (Node's and OpenSSL's names). */
function nodeCodes(thrown: unknown): string[] {
  const codes: string[] = [];
  for (let error = thrown, depth = 0; error instanceof Error && depth < 8; error = error.cause, depth++) {
    if ('code' in error && typeof error.code === 'string') codes.push(error.code);
  }
  return codes;
}

/** Names that OpenSSL and Node give to a certificate that was not accepted, by us or (the alerts) by the other side. */
const CERTIFICATE_CODES = /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT|ERR_SSL_.*(CERTIFICATE|_CA$))/;
const OTHER_AUTHORITY = /^(DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/;

function certificateProblem(codes: readonly string[], { peer, endpoint }: CallTarget, cause: unknown): ComicranError {
  const who = describePeer(peer);
  const problem = codes.includes('ERR_TLS_CERT_ALTNAME_INVALID')
    ? `what answers at ${endpoint} is not ${who}: its certificate has another name`
    : codes.some((code) => code.startsWith('ERR_SSL_'))
      ? `${who} at ${endpoint} does not accept our certificate`
      : codes.some((code) => OTHER_AUTHORITY.test(code))
        ? `the certificate of ${who} at ${endpoint} is of another authority than ours`
        : `the certificate of ${who} at ${endpoint} is not valid`;
  const hint = "Both sides need certificates of one authority; 'comicran pki show DIR' lists names and validity.";
  return new ComicranError('pki.invalid', problem, { cause, hint });
}

function unreachable(target: CallTarget, problem: string, cause: unknown): ComicranError {
  const { peer, endpoint } = target;
  const command = peer.role === 'sdn' ? 'comicran sdn' : 'comicran sdaemon';
  return new ComicranError(
    peer.role === 'sdn' ? 'sdn.unreachable' : 'vm.unreachable',
    `${describePeer(peer)} at ${endpoint} ${problem}`,
    { cause, hint: `Is '${command}' running there? Its log says so if it does not accept our certificate.` },
  );
}

export type CallState = {
  /** The connection was still being opened: a deadline then means that nobody is there. */
  readonly connecting: boolean;
  /** The caller's own signal has ended the call. (A session that breaks cancels its calls as well.) */
  readonly abortedByCaller: boolean;
};

/** @param thrown what a call or the opening of the connection threw. */
export function explain(thrown: unknown, target: CallTarget, state: CallState): ComicranError {
  if (thrown instanceof ComicranError) return thrown;
  const fromPeer = thrown instanceof ConnectError ? fromRpcError(thrown) : undefined;
  if (fromPeer !== undefined) return fromPeer;
  const codes = nodeCodes(thrown);
  if (codes.some((code) => CERTIFICATE_CODES.test(code))) return certificateProblem(codes, target, thrown);
  const code = thrown instanceof ConnectError ? thrown.code : Code.Unavailable;
  const who = `${describePeer(target.peer)} at ${target.endpoint}`;
  // An error that came as an answer has no cause on this side; one of the connection has the socket's.
  const answered = thrown instanceof ConnectError && thrown.cause === undefined;
  switch (code) {
    case Code.DeadlineExceeded:
      if (state.connecting) return unreachable(target, 'does not answer', thrown);
      return new ComicranError('deadline', `${who} did not answer in time`, { cause: thrown });
    case Code.Canceled:
      if (!state.abortedByCaller) break;
      return new ComicranError('aborted', `the call to ${who} was given up`, { cause: thrown });
    case Code.Unimplemented:
      return new ComicranError('peer.protocol', `${who} does not know this call; is it of another version?`, {
        cause: thrown,
      });
    case Code.Internal:
    case Code.Unknown:
      if (!answered) break;
      return new ComicranError('peer.refused', `${who} failed with an error of its own`, {
        cause: thrown,
        hint: 'Its log says more.',
      });
    default:
  }
  const refused = codes.includes('ECONNREFUSED') || state.connecting;
  return unreachable(target, refused ? 'does not answer' : 'broke the connection', thrown);
}
