import { ComicranError } from './errors.ts';

const DOTTED = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;

/** The four bytes of a dotted address, in network order. @throws ComicranError config.invalid */
export function ipv4Bytes(text: string): Buffer {
  const match = DOTTED.exec(text);
  const bytes = match?.slice(1).map(Number) ?? [];
  // A leading zero means octal to some programs and decimal to others: refused, as inet_pton(3) does.
  const spelled = bytes.join('.');
  if (bytes.length !== 4 || bytes.some((byte) => byte > 255) || spelled !== text) {
    throw new ComicranError('config.invalid', `'${text}' is not an IPv4 address`, {
      hint: 'Write it as four numbers from 0 to 255 with dots between them, for example 10.88.0.5.',
    });
  }
  return Buffer.from(bytes);
}

/** The dotted form of four bytes in network order. */
export function ipv4Text(bytes: Uint8Array): string {
  return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
}
