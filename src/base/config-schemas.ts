/** The values that base and full configurations have in common. */
import {
  list,
  object,
  oneOf,
  optional,
  type Path,
  type Problem,
  refined,
  required,
  text,
  wholeNumber,
} from './schema.ts';

/** Longest path that Linux takes, without the final NUL, and longest component (limits.h). */
const PATH_MAX = 4095;
const NAME_MAX = 255;
/** Control characters in a path are possible and never meant; they would garble every message and list. */
const CONTROL = /\p{Cc}/u;

/** Absolute, without `.`, `..`, empty components and a final slash. */
export function isNormalPath(path: string): boolean {
  if (path === '/') return true;
  if (!path.startsWith('/') || CONTROL.test(path) || Buffer.byteLength(path) > PATH_MAX) return false;
  return path
    .slice(1)
    .split('/')
    .every((name) => name !== '' && name !== '.' && name !== '..' && Buffer.byteLength(name) <= NAME_MAX);
}

export const absolutePath = text('an absolute path without . and .. and double slashes', isNormalPath, '^/');

/** Anything that a symbolic link can hold. */
export const linkTarget = text(
  'the target of a symbolic link: a path, absolute or relative to the link',
  (value) => /^[^\p{Cc}]{1,4095}$/u.test(value),
  '.',
);

const SANDBOX_ID = '^[a-z][a-z0-9-]{0,31}$';
export const sandboxId = text(
  'a name of 1 to 32 of a-z, 0-9 and -, with a letter first',
  (value) => new RegExp(SANDBOX_ID).test(value),
  SANDBOX_ID,
);

const OCTET = '(?:0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])';
const DOTTED = `^${OCTET}(?:\\.${OCTET}){3}$`;
/** Not this network, not loopback, not link-local (the gateway of every sandbox is there), not multicast or reserved. */
const NOT_A_SANDBOX = /^(?:0|127|22[4-9]|23[0-9]|24[0-9]|25[0-5])\.|^169\.254\./;

export const sandboxAddress = text(
  'an IPv4 address that can be given to a sandbox, such as 10.88.0.5',
  (value) => new RegExp(DOTTED).test(value) && !NOT_A_SANDBOX.test(value),
  DOTTED,
);

export const portNumber = wholeNumber(1, 65535, 'a port');

export const portSpec = object('a port', {
  port: required(portNumber),
  protocol: required(oneOf('udp', 'tcp'), 'udp'),
  publish: optional(portNumber),
  service: optional(portNumber),
});

export const networkSpec = object('the network', {
  address: required(sandboxAddress),
  ports: required(list(portSpec), []),
});

/** Permission bits, from octal text. */
export const octalMode = refined("permission bits in octal, such as '0755' or '0640'", octal, {
  // To other readers of YAML than ours 0755 without quotes is a number.
  type: ['string', 'integer'],
  pattern: '^0?[0-7]{3,4}$',
});

/** Permission bits, from octal text or as the number itself (what JSON.stringify makes of a full configuration). */
export const modeBits = refined(
  "permission bits: octal text such as '0755', or their value as a number up to 4095",
  (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0o7777 ? value : octal(value),
  { type: ['string', 'integer'], pattern: '^0?[0-7]{3,4}$' },
);

function octal(value: unknown): number | undefined {
  return typeof value === 'string' && /^0?[0-7]{3,4}$/.test(value) && Number.parseInt(value, 8) <= 0o7777
    ? Number.parseInt(value, 8)
    : undefined;
}

export function isEnvironmentName(name: string): boolean {
  return name !== '' && !name.includes('=') && !CONTROL.test(name);
}
export const ENVIRONMENT_NAME = 'a name of an environment variable (no =, not empty)';

/** Text that the kernel can carry to a program: without NUL. */
export function isCText(value: string): boolean {
  return !value.includes('\0');
}

type Ports = { readonly port: number; readonly protocol: string; readonly publish?: number; readonly service?: number };

/** Two ports of one sandbox cannot be the same, nor be found at the same place. */
export function portProblems(ports: readonly Ports[], path: Path): Problem[] {
  const problems: Problem[] = [];
  for (const key of ['port', 'publish', 'service'] as const) {
    const seen = new Set<string>();
    for (const [index, spec] of ports.entries()) {
      const value = spec[key];
      if (value === undefined) continue;
      const name = `${value}/${spec.protocol}`;
      if (seen.has(name))
        problems.push({ path: [...path, index, key], at: 'value', found: name, allowed: 'only once' });
      seen.add(name);
    }
  }
  return problems;
}
