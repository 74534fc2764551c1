import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Child } from './child.ts';
import { Construction } from './construction.ts';

const child = (hostPid: number, isOver: boolean): Child => ({
  hostPid,
  isOver,
  ended: new Promise(() => undefined),
  kill: () => undefined,
});

test('the PID of a child that has been reaped is nobody’s: who has it next is reaped as a stranger', () => {
  const construction = new Construction({ storeDirectory: '/absent' });
  construction.zygote = child(100, true);
  construction.init = child(101, false);
  assert.deepEqual(
    [100, 101, 102].map((pid) => construction.hasChild(pid)),
    [false, true, false],
  );
});
