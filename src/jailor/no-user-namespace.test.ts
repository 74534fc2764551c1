import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EACCES, EINVAL, ENOSPC, EPERM, KernelError } from '../linux/errno.ts';
import { mappingRefused, namespaceRefused } from './no-user-namespace.ts';

test('a kernel that gives no user namespace is told with what to do next', () => {
  for (const [errno, next] of [
    [ENOSPC, /sysctl user.max_user_namespaces/],
    [EINVAL, /CONFIG_USER_NS/],
    [EPERM, /container/],
  ] as const) {
    const error = namespaceRefused(new KernelError('make the namespaces', errno));
    assert.equal(error?.code, 'needs.kernel');
    assert.match(error.hint ?? '', next);
    assert.match(error.hint ?? '', /security.userNamespace: false/);
  }
});

test('a file system without id-mapped mounts is told with what to do next', () => {
  const error = mappingRefused('/mnt/nfs', '/etc/key', new KernelError('mount_setattr', EINVAL));
  assert.match(error.message, /\/etc\/key.*\/mnt\/nfs/);
  assert.match(error.hint ?? '', /ext4.*security.userNamespace: false/);
});

test('what has another reason is not told as this', () => {
  assert.equal(namespaceRefused(new KernelError('make the namespaces', EACCES)), undefined);
  assert.equal(namespaceRefused(new Error('no')), undefined);
});
