import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isPublishTable, publishedPorts, publishRuleset, tableName } from './ruleset.ts';

const network = {
  address: '10.88.0.5',
  ports: [
    { port: 5006, protocol: 'udp', publish: 6006 },
    { port: 53, protocol: 'udp' },
  ],
} as const;

test('only ports that are to be published are', () => {
  assert.deepEqual(
    publishedPorts(network).map(({ key }) => key),
    ['6006/udp'],
  );
});

test('the ruleset replaces the table in one transaction and translates for outside and for the machine itself', () => {
  assert.equal(tableName('my-box'), 'comicran_publish_my_box');
  assert.ok(isPublishTable('comicran_publish_square'));
  assert.equal(
    publishRuleset('square', network, '10.71.1.2'),
    `table ip comicran_publish_square { }
delete table ip comicran_publish_square
table ip comicran_publish_square {
  chain prerouting {
    type nat hook prerouting priority -100; policy accept;
    ip daddr 10.71.1.2 udp dport 6006 dnat to 10.88.0.5:5006
  }
  chain output {
    type nat hook output priority -100; policy accept;
    ip daddr 10.71.1.2 udp dport 6006 dnat to 10.88.0.5:5006
  }
}
`,
  );
});
