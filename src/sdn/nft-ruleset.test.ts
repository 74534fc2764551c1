import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTranslations, SERVICES_MAP, UnexpectedTable } from './nft-ruleset.ts';

const listing = (protocol: unknown) => [
  {
    map: {
      ...SERVICES_MAP,
      elem: [[{ concat: ['10.70.0.1', protocol, 5006] }, { concat: ['10.88.0.5', 5006] }]],
    },
  },
];

test('a protocol is told by its name, or by its number where a machine does not know the name', () => {
  const translation = { address: '10.70.0.1', port: 5006, toAddress: '10.88.0.5', toPort: 5006 };
  for (const told of ['udp', 17])
    assert.deepEqual(parseTranslations(listing(told)), [{ ...translation, protocol: 'udp' }]);
  for (const told of ['tcp', 6])
    assert.deepEqual(parseTranslations(listing(told)), [{ ...translation, protocol: 'tcp' }]);
  for (const told of ['sctp', 132, null]) assert.throws(() => parseTranslations(listing(told)), UnexpectedTable);
});
