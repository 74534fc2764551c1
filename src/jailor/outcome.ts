/** What a jailor in the background tells the program that started it, once: how the start went. */
import { closeSync, writeSync } from 'node:fs';
import { ComicranError, isErrorCode, messageOf } from '../base/errors.ts';

type Failure = {
  readonly ok: false;
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
  /** Messages of the causes, the nearest first. */
  readonly because: readonly string[];
};

type Outcome = { readonly ok: true } | Failure;

/** Writes the outcome and closes the descriptor. That nobody listens any more is no failure. */
export function writeOutcome(fd: number, problem?: unknown): void {
  const outcome: Outcome = problem === undefined ? { ok: true } : failureOf(problem);
  try {
    writeSync(fd, `${JSON.stringify(outcome)}\n`);
    closeSync(fd);
  } catch {
    // The program that started this one is gone.
  }
}

function failureOf(problem: unknown): Failure {
  const because: string[] = [];
  for (let at = problem; at instanceof Error && at.cause !== undefined; at = at.cause)
    because.push(messageOf(at.cause));
  const known = problem instanceof ComicranError ? problem : undefined;
  return {
    ok: false,
    code: known?.code ?? 'sandbox.setup-failed',
    message: messageOf(problem),
    hint: known?.hint ?? null,
    because,
  };
}

/** The error that the other side threw, or undefined when all went well. @param text everything that it wrote. */
export function readOutcome(text: string): ComicranError | undefined {
  // Written by the function above, in this version of this program.
  const outcome = JSON.parse(text) as Outcome;
  if (outcome.ok) return undefined;
  const { code, message, hint, because } = outcome;
  const cause = because
    .toReversed()
    .reduce<Error | undefined>((inner, words) => new Error(words, { cause: inner }), undefined);
  return new ComicranError(isErrorCode(code) ? code : 'sandbox.setup-failed', message, {
    ...(hint === null ? {} : { hint }),
    cause,
  });
}
