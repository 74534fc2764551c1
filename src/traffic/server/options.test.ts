import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHeartbeat } from './heartbeat.ts';
import { serverOptions } from './options.ts';

test('touching is by request or by second', () => {
  const touch = (text: string) => {
    const { touchPages, touchPagesPerSecond } = serverOptions({ memory: '1M', touch: text });
    return [touchPages, touchPagesPerSecond];
  };
  assert.deepEqual(touch('16'), [16, 0]);
  assert.deepEqual(touch('1M/s'), [0, 256]);
  assert.deepEqual(touch('5000/s'), [0, 2]);
  for (const bad of ['x', '1M', '/s', '1M/m', '5G/s']) assert.throws(() => touch(bad), RangeError, bad);
  assert.throws(() => serverOptions({ touch: '1M/s' }), /--memory SIZE/);
});

test('a heartbeat has an address, a port and a period', () => {
  assert.deepEqual(parseHeartbeat('10.70.0.2:7000'), { host: '10.70.0.2', port: 7000, periodMs: 100 });
  assert.deepEqual(parseHeartbeat('10.70.0.2:7000/25'), { host: '10.70.0.2', port: 7000, periodMs: 25 });
  for (const bad of [
    '',
    '7000',
    'x:7000',
    '10.70.0.2:0',
    '10.70.0.2:70000',
    '10.70.0.2:7000/0',
    '1.2.3:7',
    '1.2.3.4:7/',
  ]) {
    assert.throws(() => parseHeartbeat(bad), /--heartbeat/, bad);
  }
});

test('what an answer depends on is steady unless one says otherwise', () => {
  assert.equal(serverOptions({}).variation, 'steady');
  assert.equal(serverOptions({ answer: 'clock' }).variation, 'clock');
  assert.throws(() => serverOptions({ answer: 'moon' }), /--answer 'moon' is none of steady, clock, random/);
});
