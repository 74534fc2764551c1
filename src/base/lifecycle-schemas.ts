/** The keys of a configuration that say how a sandbox is looked after; base and full configurations have them in common. */
import { absolutePath, isCText, portNumber } from './config-schemas.ts';
import type { HealthSpec, LogsSpec, RestartSpec } from './sandbox-config.ts';
import {
  flag,
  list,
  object,
  oneOf,
  optional,
  type Problem,
  refined,
  required,
  type Schema,
  text,
  wholeNumber,
} from './schema.ts';

const LONGEST_MS = 24 * 3_600_000;
/** So many lines of the longest kind fit into a file of it that a rotation is not every line's. */
const SMALLEST_LOG_BYTES = 64 * 2 ** 10;

const milliseconds = wholeNumber(1, LONGEST_MS, 'milliseconds');

export const restartSpec = object('when the root process is started again', {
  policy: required(oneOf('no', 'on-failure', 'always')),
  max: optional(wholeNumber(1, 1_000_000, 'a number of restarts')),
  backoffMs: optional(milliseconds),
  longestBackoffMs: optional(milliseconds),
}) satisfies Schema<RestartSpec>;

export const logsSpec = object('how much of the log is kept', {
  maxBytes: optional(wholeNumber(SMALLEST_LOG_BYTES, 2 ** 40, 'a number of bytes')),
  files: optional(wholeNumber(2, 100, 'a number of files')),
}) satisfies Schema<LogsSpec>;

const line = text('text without NUL', (value) => isCText(value));

const command = refined(
  'a list: the absolute path of a program in the sandbox and its arguments',
  (value): readonly string[] | undefined => {
    const words = list(line).read(value, [], () => undefined);
    return words?.[0] !== undefined && absolutePath.read(words[0], [], () => undefined) !== undefined
      ? words
      : undefined;
  },
  { type: 'array', items: { type: 'string' }, minItems: 1 },
);

export const healthSpec = object('how its health is found out', {
  command: optional(command),
  udp: optional(
    object('a datagram that is answered', {
      port: required(portNumber),
      send: required(line, ''),
      expect: optional(line),
    }),
  ),
  intervalMs: optional(milliseconds),
  timeoutMs: optional(milliseconds),
  retries: optional(wholeNumber(1, 1_000, 'a number of failures')),
  restart: optional(flag()),
}) satisfies Schema<HealthSpec>;

/** What goes with what. */
export function lifecycleProblems(config: { readonly restart?: RestartSpec; readonly health?: HealthSpec }): Problem[] {
  const { restart, health } = config;
  const problems: Problem[] = [];
  if (health !== undefined && (health.command === undefined) === (health.udp === undefined)) {
    const found = health.command === undefined ? 'neither command nor udp' : 'command and udp';
    problems.push({ path: ['health'], at: 'key', found, allowed: 'one of command and udp' });
  }
  if (health?.restart === true && (restart === undefined || restart.policy === 'no')) {
    const allowed = 'true only with a restart.policy that is not no';
    problems.push({ path: ['health', 'restart'], at: 'value', found: 'true', allowed });
  }
  return problems;
}
