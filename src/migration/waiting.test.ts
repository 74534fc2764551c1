import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_DEADLINES, patientDeadlines } from './waiting.ts';

test('patience makes every deadline longer by the same factor', () => {
  assert.deepEqual(patientDeadlines(1), DEFAULT_DEADLINES);
  const patient = patientDeadlines(8);
  for (const name of Object.keys(DEFAULT_DEADLINES) as (keyof typeof DEFAULT_DEADLINES)[])
    assert.equal(patient[name], DEFAULT_DEADLINES[name] * 8, name);
});
