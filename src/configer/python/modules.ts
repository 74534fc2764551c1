/** Asks an interpreter for Python which files a program imports: share/python/modules.py, which runs none of it. */
import { spawnSync } from 'node:child_process';
import { ComicranError } from '../../base/errors.ts';
import { list, object, optional, type Problem, refined, required, text } from '../../base/schema.ts';
import { type Chain, chainText } from '../host-files.ts';

const MAX_ANSWER_BYTES = 64 << 20;
const TIMEOUT_MS = 120_000;

const anything = text('text');
const words = refined(
  'a list of text and null',
  (value) =>
    Array.isArray(value) && value.every((one) => one === null || typeof one === 'string')
      ? (value as (string | null)[])
      : undefined,
  {},
);
const ANSWER = object('modules', {
  /** Name, file, and the file of who imports it. */
  files: required(list(words)),
  /** Directory, and the file of who imports it. */
  packages: required(list(words)),
  landmarks: required(list(anything)),
  missing: required(list(words)),
  needed: required(list(anything)),
  warnings: optional(list(anything)),
});

export type Question = {
  /** Directories of the host that come before the standard library's. */
  readonly path: readonly string[];
  readonly script: string | null;
  readonly code: string | null;
  readonly module: string | null;
};
export type PythonModules = NonNullable<ReturnType<(typeof ANSWER)['read']>>;

/**
 * @param interpreter on the host.
 * @param helper share/python/modules.py.
 * @throws ComicranError config.missing-file where the interpreter cannot say.
 */
export function pythonModulesOf(interpreter: string, helper: string, question: Question, chain: Chain): PythonModules {
  const done = spawnSync(interpreter, ['-I', '-S', '-B', helper], {
    input: JSON.stringify(question),
    encoding: 'utf8',
    env: {},
    maxBuffer: MAX_ANSWER_BYTES,
    timeout: TIMEOUT_MS,
  });
  const problems: Problem[] = [];
  const answer =
    done.status === 0 ? ANSWER.read(parsed(done.stdout), [], (problem) => problems.push(problem)) : undefined;
  if (answer !== undefined) return answer;
  const lines = (done.stderr ?? '').trim().split('\n');
  const why = done.error?.message ?? lines.at(-1) ?? `it ended with ${done.status}`;
  throw new ComicranError(
    'config.missing-file',
    `${interpreter} cannot say what the program imports: ${why} (${chainText(chain)})`,
    { hint: 'Correct the script, or switch dependencies.pythonModules off and list the files that it needs.' },
  );
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
