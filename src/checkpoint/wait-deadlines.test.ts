import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Registers } from '../linux/registers.ts';
import { SYS } from '../linux/syscall-numbers.ts';
import { WaitDeadlines } from './wait-deadlines.ts';

const wait = (timeout: number, rip = 0x1000): Registers =>
  new Registers().set('rax', SYS.epoll_wait).set('rip', rip).set('rdi', 3).set('r10', timeout);
const left = (registers: Registers): number => Number(BigInt.asIntN(32, registers.get('r10')));

test('a wait that is frozen again and again keeps the deadline of the first time', () => {
  const deadlines = new WaitDeadlines();
  const registers = wait(1000);
  const seen = [0, 300, 600, 999, 1000, 5000].map((now) => {
    deadlines.shorten(7, registers, now);
    return left(registers);
  });
  assert.deepEqual(seen, [999, 700, 400, 1, 0, 0]);
});

test('a new wait has a deadline of its own: another timeout, place or thread', () => {
  const deadlines = new WaitDeadlines();
  deadlines.shorten(7, wait(1000), 0);
  for (const [tid, registers] of [
    [7, wait(1000)],
    [8, wait(999)],
    [7, wait(998, 0x2000)],
  ] as const) {
    const before = left(registers);
    deadlines.shorten(tid, registers, 500);
    assert.equal(left(registers), before - 1);
  }
});

test('a wait without a timeout, and other calls, stay as they are', () => {
  const deadlines = new WaitDeadlines();
  for (const registers of [wait(-1), wait(0), wait(5).set('rax', SYS.semop)]) {
    const before = left(registers);
    deadlines.shorten(7, registers, 0);
    assert.equal(left(registers), before);
  }
});
