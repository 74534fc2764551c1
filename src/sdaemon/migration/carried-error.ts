import { ComicranError, type ErrorCode, isErrorCode } from '../../base/errors.ts';

/** An error as it crosses threads: structured clone keeps neither the class nor its fields. */
export type CarriedError = {
  readonly code: ErrorCode | undefined;
  readonly message: string;
  readonly hint: string | undefined;
  readonly stack: string | undefined;
  readonly cause: CarriedError | undefined;
};

export function carry(thrown: unknown, depth = 0): CarriedError {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const known = error instanceof ComicranError ? error : undefined;
  const code = known !== undefined && isErrorCode(known.code) ? known.code : undefined;
  const cause = error.cause === undefined || depth > 8 ? undefined : carry(error.cause, depth + 1);
  return { code, message: error.message, hint: known?.hint, stack: error.stack, cause };
}

export function uncarry(carried: CarriedError): Error {
  const cause = carried.cause === undefined ? undefined : uncarry(carried.cause);
  const { code, message, hint, stack } = carried;
  const error =
    code === undefined
      ? new Error(message, { cause })
      : new ComicranError(code, message, {
          ...(hint === undefined ? {} : { hint }),
          ...(cause === undefined ? {} : { cause }),
        });
  if (stack !== undefined) error.stack = stack;
  return error;
}
