import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { answer, MAX_PAYLOAD_BYTES } from './answer.ts';

test('an integer of any length and sign is answered with its square in shortest form', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(10n ** 400n), max: 10n ** 400n }), fc.nat(5), (integer, zeros) => {
      const sign = integer < 0n ? '-' : '';
      const digits = (integer < 0n ? -integer : integer).toString();
      const { text, served } = answer(`${sign}${'0'.repeat(zeros)}${digits}`);
      assert.equal(text, (integer * integer).toString());
      assert.ok(served);
    }),
  );
});

test('surrounding white space, a plus sign and minus zero are integers', () => {
  for (const [request, square] of [
    ['12\n', '144'],
    [' \t12\r\n', '144'],
    ['+12', '144'],
    ['-0', '0'],
    ['000', '0'],
  ] as const) {
    assert.deepEqual(answer(request), { text: square, served: true });
  }
});

test('a counting server puts the count behind the square', () => {
  assert.deepEqual(answer('-12', 7), { text: '144 7', served: true });
});

test('whatever is not an integer is answered with an error, counted or not', () => {
  const bad = ['', ' ', '\n', 'x', '1.5', '1e3', '0x10', '--1', '+', '-', '1 2', '1_000', '１２', '\0', '12\0', 'NaN'];
  for (const request of bad) {
    for (const count of [undefined, 3]) {
      const { text, served } = answer(request, count);
      assert.match(text, /^error: [^\n]+$/, JSON.stringify(request));
      assert.ok(!served);
    }
  }
});

test('any bytes get an answer that fits into a datagram and is a square or an error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
      const { text } = answer(Buffer.from(bytes).toString('latin1'));
      assert.ok(text.length <= MAX_PAYLOAD_BYTES);
      assert.match(text, /^([0-9]+|error: .+)$/);
    }),
  );
});

test('the longest squares that fit are answered, and the first that does not is an error', () => {
  // 10^n has n + 1 digits and a square of 2n + 1: the last that fits has (65,507 - 1) / 2 zeros.
  const fits = `1${'0'.repeat(32_753)}`;
  assert.equal(answer(fits).text.length, MAX_PAYLOAD_BYTES);
  assert.match(answer(fits, 1).text, /^error: the square of an integer of 32754 digits does not fit/);
  assert.match(answer(`${fits}0`).text, /^error: /);
  assert.match(answer('9'.repeat(32_754)).text, /^error: /);
  assert.equal(answer('9'.repeat(32_753)).text.length, 65_506);
  assert.match(answer('9'.repeat(MAX_PAYLOAD_BYTES)).text, /^error: /);
});

test('a datagram full of zeros is zero, and a malformed one of full length costs no more than its length', () => {
  assert.equal(answer('0'.repeat(MAX_PAYLOAD_BYTES)).text, '0');
  assert.match(answer(`${'0'.repeat(MAX_PAYLOAD_BYTES - 1)}x`).text, /^error: not an integer/);
  assert.match(answer(`${' '.repeat(MAX_PAYLOAD_BYTES - 1)}x`).text, /^error: not an integer/);
  assert.match(answer(`1${' '.repeat(MAX_PAYLOAD_BYTES - 2)}x`).text, /^error: not an integer/);
});
