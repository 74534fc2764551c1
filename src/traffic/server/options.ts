/** Options of the server, from the strings of a command line to checked values. */
import { constants } from 'node:buffer';
import { isIP } from 'node:net';
import { type Heartbeat, parseHeartbeat } from './heartbeat.ts';
import { PAGE_BYTES } from './memory.ts';
import { VARIATIONS, type Variation } from './variation.ts';

export type ServerOptions = {
  /** 0: any that is free. */
  readonly port: number;
  /** IPv4 or IPv6 address to listen on. */
  readonly host: string;
  /** Bytes of memory to hold; 0: none. */
  readonly memoryBytes: number;
  /** Pages of that memory written for each request. */
  readonly touchPages: number;
  /** Pages of that memory written each second, whatever is asked. */
  readonly touchPagesPerSecond: number;
  /** Whether an answer says how many requests have been served. */
  readonly count: boolean;
  /** What an answer depends on, beside the requests. */
  readonly variation: Variation;
  readonly heartbeat: Heartbeat | undefined;
  /** Asked of the kernel for datagrams that wait; the kernel gives no more than net.core.rmem_max. */
  readonly receiveBufferBytes: number;
};

export type RawServerOptions = {
  readonly port?: string | undefined;
  readonly host?: string | undefined;
  readonly memory?: string | undefined;
  readonly touch?: string | undefined;
  readonly count?: boolean | undefined;
  readonly answer?: string | undefined;
  readonly heartbeat?: string | undefined;
};

export const DEFAULT_PORT = '5006';
export const DEFAULT_HOST = '0.0.0.0';

/** Pages that one request may write: more would make it take longer than the 1 ms that an answer may. */
const MAX_TOUCH_PAGES = 65_536;

/** Some 4 GB a second: what this kind of loop can write at all. */
const MAX_TOUCH_PAGES_PER_SECOND = 1_048_576;

/** Room for some 5,000 small datagrams: what arrives in a second at 5,000 a second waits while the process is moved. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };

/** A size such as `65536`, `512K`, `64M`, `1G` (powers of 1024), in bytes. @throws RangeError */
function parseSize(text: string, key: string): number {
  const match = /^([0-9]{1,15})([KMG]?)$/i.exec(text);
  const bytes = match === null ? Number.NaN : Number(match[1]) * UNITS[match[2]!.toUpperCase()]!;
  if (!(bytes <= constants.MAX_LENGTH)) {
    throw new RangeError(`${key} '${text}' is not a size; a size is a number with K, M or G behind it, such as 64M`);
  }
  return bytes;
}

function parseWhole(text: string, key: string, max: number): number {
  const value = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= max)) throw new RangeError(`${key} '${text}' is not a whole number from 0 to ${max}`);
  return value;
}

/** `--touch 16`: pages a request. `--touch 50M/s`: memory a second. */
function parseTouch(text: string): Pick<ServerOptions, 'touchPages' | 'touchPagesPerSecond'> {
  const rate = /^(.+)\/s$/.exec(text)?.[1];
  if (rate === undefined) return { touchPages: parseWhole(text, '--touch', MAX_TOUCH_PAGES), touchPagesPerSecond: 0 };
  const touchPagesPerSecond = Math.ceil(parseSize(rate, '--touch') / PAGE_BYTES);
  if (touchPagesPerSecond > MAX_TOUCH_PAGES_PER_SECOND) {
    throw new RangeError(`--touch '${text}' is more than ${(MAX_TOUCH_PAGES_PER_SECOND * PAGE_BYTES) / 1024 ** 3}G/s`);
  }
  return { touchPages: 0, touchPagesPerSecond };
}

function parseVariation(text: string): Variation {
  const known = VARIATIONS.find((variation) => variation === text);
  if (known === undefined) throw new RangeError(`--answer '${text}' is none of ${VARIATIONS.join(', ')}`);
  return known;
}

/** @throws RangeError that names the option, the value and what is allowed. */
export function serverOptions(raw: RawServerOptions): ServerOptions {
  const host = raw.host ?? DEFAULT_HOST;
  if (isIP(host) === 0) throw new RangeError(`--host '${host}' is not an IPv4 or IPv6 address`);
  const memoryBytes = raw.memory === undefined ? 0 : parseSize(raw.memory, '--memory');
  const touch = parseTouch(raw.touch ?? '0');
  if (touch.touchPages + touch.touchPagesPerSecond > 0 && memoryBytes === 0) {
    throw new RangeError('--touch writes pages of the memory that --memory holds; say how much with --memory SIZE');
  }
  return {
    port: parseWhole(raw.port ?? DEFAULT_PORT, '--port', 65_535),
    host,
    memoryBytes,
    ...touch,
    count: raw.count ?? false,
    variation: parseVariation(raw.answer ?? 'steady'),
    heartbeat: raw.heartbeat === undefined ? undefined : parseHeartbeat(raw.heartbeat),
    receiveBufferBytes: RECEIVE_BUFFER_BYTES,
  };
}
