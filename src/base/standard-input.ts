/** Standard input, read whole. */
import { ComicranError, messageOf } from './errors.ts';

/**
 * Waits for standard input to end. A stream and not a read of descriptor 0: that one may be a socket or a pipe that does not
 * block, which says EAGAIN wherever its writer is slower than this program.
 *
 * @param what as it stands in messages: `the configuration on standard input`.
 * @throws ComicranError config.missing-file where it cannot be read, config.invalid where it is larger than allowed.
 */
export async function readStandardInput(what: string, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxBytes) break;
      chunks.push(chunk);
    }
  } catch (cause) {
    throw new ComicranError('config.missing-file', `${what} cannot be read: ${messageOf(cause)}`, {
      hint: 'Write the configuration to standard input, or name a file instead of -.',
      cause,
    });
  }
  if (bytes > maxBytes) {
    throw new ComicranError('config.invalid', `${what} is too long: at most ${maxBytes} bytes are read`, {
      hint: 'Write the configuration there and nothing else.',
    });
  }
  return Buffer.concat(chunks);
}
