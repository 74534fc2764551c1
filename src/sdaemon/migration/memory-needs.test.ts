import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FullConfig } from '../../base/sandbox-config.ts';
import { checkMemoryLimit } from './memory-needs.ts';

const GIB = 2 ** 30;
const config = (memory?: number): FullConfig =>
  ({ id: 'square', limits: memory === undefined ? {} : { memory } }) as unknown as FullConfig;

test('what comes into the sandbox has to fit there, page tables included', () => {
  checkMemoryLimit(config(GIB), GIB - GIB / 256);
  for (const bytes of [GIB - GIB / 1024, GIB, 2 * GIB])
    assert.throws(() => checkMemoryLimit(config(GIB), bytes), {
      code: 'migration.refused',
      message: /'square' would need .* at the destination, and may use 1\.0 GiB \(limits\.memory\)/,
    });
});

test('a limit that nobody has named counts, too', () => {
  checkMemoryLimit(config(), 3 * GIB);
  assert.throws(() => checkMemoryLimit(config(), 4 * GIB), { code: 'migration.refused' });
});
