/** Calls whose results only the process itself can get, put together so that one stop answers many questions. */
import type { RemoteCall } from '../linux/tracee.ts';

/** Calls to inject, and what to make of their results, which come in the same order. */
export type Question<T> = {
  readonly calls: readonly RemoteCall[];
  readonly answer: (results: readonly bigint[]) => T;
};

/**
 * The answers to all questions, by their names.
 *
 * @param inject makes the calls of all of them; the answers are made when it has returned.
 */
export function ask<Answers extends object>(
  inject: (calls: readonly RemoteCall[]) => readonly bigint[],
  questions: { readonly [Name in keyof Answers]: Question<Answers[Name]> },
): Answers {
  const names = Object.keys(questions) as (keyof Answers)[];
  const results = inject(names.flatMap((name) => questions[name].calls));
  const answers: Partial<Answers> = {};
  let at = 0;
  for (const name of names) {
    const { calls, answer } = questions[name];
    answers[name] = answer(results.slice(at, at + calls.length));
    at += calls.length;
  }
  return answers as Answers;
}
