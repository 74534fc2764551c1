import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MODES } from '../../migration/modes.ts';
import { checkKernel } from './mode-needs.ts';

test('where writes cannot be noticed it is precopy alone that is refused', () => {
  for (const mode of MODES) {
    for (const writeTracking of ['userfaultfd', 'soft-dirty'] as const) checkKernel(mode, { writeTracking });
    if (mode !== 'precopy') checkKernel(mode, { writeTracking: 'none' });
  }
  assert.throws(() => checkKernel('precopy', { writeTracking: 'none' }), /precopy .* this kernel cannot/);
});
