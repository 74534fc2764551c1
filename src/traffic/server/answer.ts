/** What the server answers, as a pure function of the datagram and the count. */

/** Payload of the largest UDP datagram over IPv4: 65,535 less 20 bytes of IP header and 8 of UDP header. */
export const MAX_PAYLOAD_BYTES = 65_507;

const INTEGER = /^[+-]?[0-9]+$/;
const SPACE = ' \t\r\n';
const LEADING_ZEROS = /^0+(?=[0-9])/;

/** An answer, and whether the request was one that counts: an integer whose square was sent. */
export type Answer = { readonly text: string; readonly served: boolean };

export const refusal = (reason: string): Answer => ({ text: `error: ${reason}`, served: false });

/** By hand: a regular expression for trailing space takes quadratic time on a datagram full of spaces. */
function trimmed(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && SPACE.includes(text[start]!)) start++;
  while (end > start && SPACE.includes(text[end - 1]!)) end--;
  return text.slice(start, end);
}

/**
 * Answers a request: the square of a decimal integer of any length, in its shortest form.
 *
 * White space around the integer (the newline of a hand-typed request) and a sign are allowed. Everything else, and an
 * integer whose answer does not fit into one datagram, is answered `error: …`. That limit also bounds the work: the
 * longest integer that is squared has 32,754 digits, which takes some 12 ms.
 *
 * @param request the datagram's bytes as Latin-1 text, so that a byte is a character.
 * @param count what to say after the square; absent: nothing.
 * @param variation a last word; empty: none.
 */
export function answer(request: string, count?: number, variation = ''): Answer {
  const text = trimmed(request);
  if (text === '') return refusal('the datagram is empty where an integer is expected');
  if (!INTEGER.test(text)) return refusal('not an integer');
  const unsigned = text.startsWith('-') || text.startsWith('+') ? text.slice(1) : text;
  const digits = unsigned.replace(LEADING_ZEROS, '');
  const suffix = (count === undefined ? '' : ` ${count}`) + (variation === '' ? '' : ` ${variation}`);
  const space = MAX_PAYLOAD_BYTES - suffix.length;
  const tooLong = `the square of an integer of ${digits.length} digits does not fit into a datagram`;
  // A square has twice the digits, or one less.
  if (2 * digits.length - 1 > space) return refusal(tooLong);
  const integer = BigInt(digits);
  const square = (integer * integer).toString();
  if (square.length > space) return refusal(tooLong);
  return { text: square + suffix, served: true };
}
