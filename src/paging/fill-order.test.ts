import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FillOrder } from './fill-order.ts';
import { MissingPages } from './missing-pages.ts';

test('behind the latest fault first, then what is likely, then the rest, each page once', () => {
  const own = MissingPages.at([{ page: 0, count: 1000 }]);
  const order = new FillOrder([{ page: 900, count: 3 }]);
  assert.deepEqual(order.next([own], 2), [{ page: 900, count: 2 }]);
  order.touched(100);
  order.touched(500);
  assert.deepEqual(order.next([own], 64), [{ page: 500, count: 64 }]);
  assert.deepEqual(order.next([own], 70), [
    { page: 100, count: 64 },
    { page: 902, count: 1 },
    { page: 0, count: 5 },
  ]);
  assert.deepEqual(order.next([own], 10), [{ page: 5, count: 10 }]);
});

test('when nothing came of it, it is asked for again', () => {
  const own = MissingPages.at([{ page: 0, count: 4 }]);
  const order = new FillOrder([]);
  assert.deepEqual(order.next([own], 10), [{ page: 0, count: 4 }]);
  assert.deepEqual(order.next([own], 10), []);
  order.restart();
  own.forgetRequests();
  assert.deepEqual(order.next([own], 10), [{ page: 0, count: 4 }]);
});

test('what has been moved to lower addresses is not forgotten, nor are children', () => {
  const own = MissingPages.at([{ page: 50, count: 20 }]);
  const child = MissingPages.at([{ page: 90, count: 1 }]);
  const order = new FillOrder([]);
  assert.deepEqual(order.next([own, child], 5), [{ page: 50, count: 5 }]);
  own.move(60, 10, 5);
  assert.deepEqual(order.next([own, child], 100), [
    { page: 55, count: 5 },
    { page: 65, count: 5 },
    { page: 60, count: 5 },
    { page: 90, count: 1 },
  ]);
  assert.deepEqual(order.next([], 100), []);
});
