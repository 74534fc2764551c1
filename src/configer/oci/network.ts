/** Where a sandbox of a bundle is reached: OCI knows no addresses, so options say it, or annotations. */

import { portSpec } from '../../base/config-schemas.ts';
import { ComicranError } from '../../base/errors.ts';
import type { PortSpec } from '../../base/sandbox-config.ts';
import type { Problem } from '../../base/schema.ts';

/** @param text `5006`, `5006/udp`, `5006/udp,service=5006,publish=5006` @throws ComicranError usage */
export function parsePort(text: string): PortSpec {
  const [first = '', ...others] = text.split(',');
  const [port = '', protocol = 'udp'] = first.split('/');
  const pairs = others.map((pair) => pair.split('='));
  const number = (digits: string | undefined): number | string | undefined =>
    digits !== undefined && /^[0-9]{1,5}$/.test(digits) ? Number(digits) : digits;
  const problems: Problem[] = [];
  const value = {
    ...Object.fromEntries(pairs.map(([key, digits]) => [key, number(digits)])),
    port: number(port),
    protocol,
  };
  const spec = portSpec.read(value, [], (problem) => problems.push(problem));
  if (spec !== undefined) return spec;
  const [problem] = problems;
  throw new ComicranError('usage', `${text} is not a port: ${problem?.path.join('.')}: ${problem?.allowed}`, {
    hint: 'Write it as PORT/udp or PORT/tcp, and perhaps ,service=PORT and ,publish=PORT behind it.',
  });
}
