/** Words of a command line as values. */
import { constants } from 'node:os';
import { InvalidArgumentError } from 'commander';

export function parseCount(text: string): number {
  const value = Number(text);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(value))
    throw new InvalidArgumentError('a whole number is expected');
  return value;
}

const MAX_DURATION_MS = 2 ** 32 - 1;

/** `30`, `0.5s`, `500ms`, `2min` -> milliseconds, rounded up to a whole one. Without a unit: seconds. */
export function parseDuration(text: string): number {
  const [, amount, unit = 's'] = /^([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|min)?$/.exec(text) ?? [];
  const milliseconds = Math.ceil(Number(amount) * { ms: 1, s: 1000, min: 60_000 }[unit as 'ms' | 's' | 'min']);
  if (!(milliseconds > 0 && milliseconds <= MAX_DURATION_MS)) {
    throw new InvalidArgumentError('a time is expected: seconds, or with a unit, such as 30, 0.5s, 500ms, 2min');
  }
  return milliseconds;
}

/** One of a list of ports: the option may be given again, and may name several (`5006,5007`). */
export function parsePorts(text: string, before: readonly number[] = []): readonly number[] {
  const ports = text.split(',').map((word) => (/^[0-9]{1,5}$/.test(word) ? Number(word) : Number.NaN));
  if (!ports.every((port) => port >= 1 && port <= 65_535)) {
    throw new InvalidArgumentError('a port from 1 to 65535 is expected, or several with commas between them');
  }
  return [...new Set([...before, ...ports])];
}

/** `TERM`, `SIGTERM`, `15` */
export function parseSignal(text: string): number {
  const name = text.toUpperCase();
  const number = constants.signals[(name.startsWith('SIG') ? name : `SIG${name}`) as NodeJS.Signals];
  if (number !== undefined) return number;
  const value = Number(text);
  if (Number.isInteger(value) && value > 0 && value <= 64) return value;
  throw new InvalidArgumentError('a signal name (TERM, KILL) or number is expected');
}
