import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, test } from 'node:test';
import { getScheduling, setScheduling } from '../linux/scheduling.ts';
import { HURRIED, hurry, MOST_HURRIED } from './hurry.ts';

const normal = getScheduling(0);
after(() => setScheduling(0, { ...normal, resetOnFork: false }));

test('a thread that is hurried goes before others, and what it starts does not', () => {
  assert.ok(MOST_HURRIED < HURRIED && HURRIED < 0, 'who talks does not keep a process waiting');
  hurry(HURRIED);
  // Without root everything stays as it is.
  const { nice } = getScheduling(0);
  assert.ok(nice === HURRIED || (nice === normal.nice && process.getuid?.() !== 0), `${nice}`);
  assert.equal(Number(execFileSync('nice')), Math.max(0, normal.nice));
});
