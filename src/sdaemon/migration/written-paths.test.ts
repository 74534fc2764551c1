import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FullConfig } from '../../base/sandbox-config.ts';
import { writtenPaths } from './written-paths.ts';

test('writable paths and /tmp move; what is bound from the VM, and was declared so, does not', () => {
  const mounts = [
    { kind: 'bind', path: '/srv/shared', source: '/srv' },
    { kind: 'tmpfs', path: '/var/large' },
  ] as const;
  const config = { writable: ['/var/log', '/srv/shared'], mounts } as unknown as FullConfig;
  assert.deepEqual(writtenPaths(config), ['/tmp', '/var/large', '/var/log']);
});
