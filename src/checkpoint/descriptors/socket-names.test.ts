import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeInetAddress } from '../../linux/sockets.ts';
import { endpointText } from './socket-names.ts';

const text = (hex: string, port: number): string =>
  endpointText(encodeInetAddress({ address: Buffer.from(hex, 'hex'), port, flowInfo: 0, scopeId: 0 }));

for (const [hex, expected] of [
  ['0a000001', '10.0.0.1:80'],
  ['00'.repeat(16), '[::]:80'],
  [`${'00'.repeat(15)}01`, '[::1]:80'],
  ['fe80000000000000000000000000000a', '[fe80::a]:80'],
  ['20010db8000000000001000000000001', '[2001:db8::1:0:0:1]:80'],
  ['20010db8000000010001000100010001', '[2001:db8:0:1:1:1:1:1]:80'],
  ['20010db8000100000000000000000000', '[2001:db8:1::]:80'],
  ['10000000000000000000000000000001', '[1000::1]:80'],
] as const) {
  test(`${hex} is written ${expected}`, () => assert.equal(text(hex, 80), expected));
}
