import { isIPv4 } from 'node:net';
import { ComicranError } from '../base/errors.ts';

export type Endpoint = { readonly address: string; readonly port: number };

/** `10.77.0.2:7420`: an IPv4 address and a port. Port 0 (any that is free) only makes sense to listen on. */
export function parseEndpoint(text: string): Endpoint {
  const colon = text.lastIndexOf(':');
  const address = text.slice(0, Math.max(colon, 0));
  const port = text.slice(colon + 1);
  if (colon < 0 || !isIPv4(address) || !/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
    throw new ComicranError('usage', `'${text}' is not an endpoint`, {
      hint: 'Write an IPv4 address and a port with a colon between them, for example 10.77.0.2:7420.',
    });
  }
  return { address, port: Number(port) };
}

export function formatEndpoint(endpoint: Endpoint): string {
  return `${endpoint.address}:${endpoint.port}`;
}
