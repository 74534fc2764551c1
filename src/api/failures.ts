/** How a failure crosses the wire: as a message Failure in the details of an RPC error, and back. */
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { ComicranError, type ErrorCode, isErrorCode, messageOf } from '../base/errors.ts';
import { type Failure, FailureSchema } from './gen/comicran_pb.ts';

const MAX_CAUSES = 8;

/** The RPC codes are for clients that do not know {@link Failure}; ours read the details. */
const RPC_CODES: Partial<Record<ErrorCode, Code>> = {
  'sandbox.unknown': Code.NotFound,
  'vm.unknown': Code.NotFound,
  'sandbox.exists': Code.AlreadyExists,
  'address.in-use': Code.AlreadyExists,
  'service.in-use': Code.AlreadyExists,
  'config.invalid': Code.InvalidArgument,
  'peer.refused': Code.PermissionDenied,
  'vm.unreachable': Code.Unavailable,
  'sdn.unreachable': Code.Unavailable,
  deadline: Code.DeadlineExceeded,
  aborted: Code.Aborted,
};

/** The messages of what caused an error, outermost first. */
function causesOf(thrown: Error): string[] {
  const causes: string[] = [];
  let cause: unknown = thrown.cause;
  while (cause !== undefined && causes.length < MAX_CAUSES) {
    causes.push(messageOf(cause));
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  return causes;
}

function chainOf(causes: readonly string[]): Error | undefined {
  return causes.reduceRight<Error | undefined>(
    (cause, message) => new Error(message, cause === undefined ? undefined : { cause }),
    undefined,
  );
}

/** @param runsOn the machine that the sandbox runs on, where the failure is a migration's. */
export function failureOf(thrown: ComicranError, runsOn = ''): Failure {
  const { code, message, hint = '' } = thrown;
  return create(FailureSchema, { code, message, hint, runsOn, causes: causesOf(thrown) });
}

/** The error that {@link failureOf} was given, as far as it travels. A code of a newer version becomes peer.refused. */
export function errorOf(failure: Failure): ComicranError {
  const code = isErrorCode(failure.code) ? failure.code : 'peer.refused';
  const cause = chainOf(failure.causes);
  return new ComicranError(code, failure.message, {
    ...(failure.hint === '' ? {} : { hint: failure.hint }),
    ...(cause === undefined ? {} : { cause }),
  });
}

export function toRpcError(thrown: ComicranError): ConnectError {
  const detail = { desc: FailureSchema, value: failureOf(thrown) };
  return new ConnectError(
    thrown.message,
    RPC_CODES[thrown.code] ?? Code.FailedPrecondition,
    undefined,
    [detail],
    thrown,
  );
}

/** The failure that the other side put into an RPC error; undefined where it put none. */
export function fromRpcError(error: ConnectError): ComicranError | undefined {
  const [failure] = error.findDetails(FailureSchema);
  return failure === undefined ? undefined : errorOf(failure);
}
