import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FullConfig } from '../../base/sandbox-config.ts';
import { machineFiles, writtenPaths } from './written-paths.ts';

test('writable paths and /tmp move; what is bound from the VM, and was declared so, does not', () => {
  const mounts = [
    { kind: 'bind', path: '/srv/shared', source: '/srv' },
    { kind: 'tmpfs', path: '/var/large' },
  ] as const;
  const config = { writable: ['/var/log', '/srv/shared'], mounts } as unknown as FullConfig;
  assert.deepEqual(writtenPaths(config), ['/tmp', '/var/large', '/var/log']);
});

test('files of the VM that are written to are told, but for those that anybody may write to', () => {
  const bind = { kind: 'bind', source: '/srv', writable: true } as const;
  const mounts = [
    { ...bind, path: '/data' },
    { ...bind, path: '/cache', scratch: true },
    { kind: 'bind', path: '/read', source: '/srv' },
    { kind: 'tmpfs', path: '/var/large' },
    { ...bind, path: '/books', scratch: false },
  ];
  assert.deepEqual(machineFiles({ mounts } as unknown as FullConfig), ['/books', '/data']);
  assert.deepEqual(machineFiles({} as unknown as FullConfig), []);
});
