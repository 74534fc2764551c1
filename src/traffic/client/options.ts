/** Options of the client, from the strings of a command line to checked values. */
import { isIPv6 } from 'node:net';
import { ComicranError } from '../../base/errors.ts';
import { longNumbers, MAX_DIGITS, MAX_REQUESTS, MIN_DIGITS, type Numbering, shortNumbers } from './numbering.ts';

export type ClientOptions = {
  /** IPv4 or IPv6 address, or a name that is resolved once, at the start. */
  readonly host: string;
  readonly port: number;
  /** Requests per second. */
  readonly rate: number;
  readonly durationMs: number;
  /** How long answers are waited for after the last request. */
  readonly graceMs: number;
  /** How long before that, at most, as long as some are missing. */
  readonly patienceMs: number;
  readonly numbering: Numbering;
  /** Other clients ask the same server. */
  readonly shared: boolean;
};

export type RawClientOptions = {
  readonly rate: string;
  readonly duration: string;
  readonly grace?: string | undefined;
  readonly patience?: string | undefined;
  readonly digits?: string | undefined;
  readonly shared?: boolean | undefined;
};

export const DEFAULT_RATE = '1000';
export const DEFAULT_DURATION = '10';
export const DEFAULT_GRACE = '1';
export const DEFAULT_PATIENCE = '0';

const MAX_RATE = 100_000;
const MAX_SECONDS = 7 * 24 * 3600;

/** `10.70.0.1:5006`, `ue.example:5006` or `[fd00::1]:5006`. @throws ComicranError usage */
function parseTarget(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const bracketed = match?.[1];
  if (match === null || !(port >= 1 && port <= 65_535) || (bracketed !== undefined && !isIPv6(bracketed))) {
    throw new ComicranError('usage', `'${text}' is not HOST:PORT`, {
      hint: 'Write an address or a name and a port from 1 to 65535, for example 10.70.0.1:5006 or [fd00::1]:5006.',
    });
  }
  return { host: bracketed ?? match[2]!, port };
}

function parseNumber(text: string, key: string, min: number, max: number): number {
  const value = /^[0-9]{1,9}(\.[0-9]{1,6})?$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) {
    throw new ComicranError('usage', `${key} '${text}' is not a number from ${min} to ${max}`);
  }
  return value;
}

function numberingOf(digits: string | undefined): Numbering {
  if (digits === undefined) return shortNumbers;
  const count = parseNumber(digits, '--digits', MIN_DIGITS, MAX_DIGITS);
  if (!Number.isInteger(count)) throw new ComicranError('usage', `--digits '${digits}' is not a whole number`);
  return longNumbers(count);
}

/** @throws ComicranError usage, which names the option, the value and what is allowed. */
export function clientOptions(target: string, raw: RawClientOptions): ClientOptions {
  const rate = parseNumber(raw.rate, '--rate', 0.01, MAX_RATE);
  const seconds = parseNumber(raw.duration, '--duration', 0.001, MAX_SECONDS);
  if (rate * seconds > MAX_REQUESTS) {
    throw new ComicranError('usage', `${rate} requests a second for ${seconds} s are more than ${MAX_REQUESTS}`, {
      hint: 'The times of all requests are kept in memory; make the run shorter or slower.',
    });
  }
  return {
    ...parseTarget(target),
    rate,
    durationMs: seconds * 1000,
    graceMs: parseNumber(raw.grace ?? DEFAULT_GRACE, '--grace', 0, 600) * 1000,
    patienceMs: parseNumber(raw.patience ?? DEFAULT_PATIENCE, '--patience', 0, 600) * 1000,
    numbering: numberingOf(raw.digits),
    shared: raw.shared ?? false,
  };
}
