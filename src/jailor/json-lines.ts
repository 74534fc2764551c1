import type { Socket } from 'node:net';
import { ComicranError } from '../base/errors.ts';

/**
 * Calls `receive` with each line of a socket, and `fail` once, when it sends a line that is too long or no JSON; the
 * socket is then closed.
 */
export function readJsonLines(
  socket: Socket,
  maxLineBytes: number,
  receive: (value: unknown) => void,
  fail: (error: ComicranError) => void,
): void {
  let rest = '';
  const stop = (problem: string): void => {
    fail(new ComicranError('peer.protocol', `the peer of a control socket sent ${problem}`));
    socket.destroy();
  };
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const value = parse(line);
      if (value === undefined) return stop('a line that is not JSON');
      receive(value.parsed);
    }
    if (Buffer.byteLength(rest) > maxLineBytes) stop(`a line of more than ${maxLineBytes} bytes`);
  });
}

function parse(line: string): { readonly parsed: unknown } | undefined {
  try {
    return { parsed: JSON.parse(line) };
  } catch {
    return undefined;
  }
}
