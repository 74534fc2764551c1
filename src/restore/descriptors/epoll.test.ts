import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DescriptorTableImage } from '../../image/descriptors/types.ts';
import { planEpoll } from './epoll.ts';

const ONESHOT = 0x4000_0000;
const eventfd = { kind: 'eventfd', flags: 2, count: 0n, semaphore: false } as const;

test('items are sorted by when they can be added', () => {
  const item = (target: number, number: number, events: number) => ({ target, number, events, data: 0n });
  const items = [
    item(0, 3, 0x19), // its number is its target
    item(0, 5, 0x19), // a duplicate of it
    item(0, 4, 0x19), // the number is something else by now
    item(0, 9, 0x19), // the number is closed
    item(0, 3, ONESHOT), // fired
    item(0, 9, 0xf000_0000), // fired, and its number closed
    item(1, 4, ONESHOT | 0x18), // armed for errors alone
  ];
  const table: DescriptorTableImage = {
    descriptors: [
      { number: 3, description: 0, closeOnExec: false },
      { number: 4, description: 1, closeOnExec: false },
      { number: 5, description: 0, closeOnExec: false },
      { number: 6, description: 2, closeOnExec: false },
    ],
    descriptions: [eventfd, eventfd, { kind: 'epoll', flags: 2, items }],
    pipes: [],
    carriedFiles: [],
  };
  const of = (...indexes: number[]) => indexes.map((index) => ({ ...items[index]!, epoll: 2 }));
  assert.deepEqual(planEpoll(table), { late: of(0, 1, 6), stale: of(2, 3), disarmed: of(4, 5) });
});
