import assert from 'node:assert/strict';
import { posix } from 'node:path';
import { describe as suite, test } from 'node:test';
import fc from 'fast-check';
import { ComicranError } from '../base/errors.ts';
import type { FullConfig } from '../base/sandbox-config.ts';
import { macOf, tagOf } from './naming.ts';
import { describe, type Operation, type OperationKind } from './operations.ts';
import { planSandbox } from './plan.ts';

const SHA = '0'.repeat(64);
const file = (path: string): FullConfig['files'][number] => ({ path, source: path, sha256: SHA, size: 1, mode: 0o755 });

function config(change: Partial<FullConfig> = {}): FullConfig {
  return {
    version: 1,
    id: 'square',
    process: { executable: '/usr/bin/node', arguments: ['a b'], environment: {}, workingDirectory: '/srv' },
    network: { address: '10.88.0.5', ports: [] },
    files: [file('/usr/bin/node')],
    symlinks: [{ path: '/bin', target: 'usr/bin' }],
    directories: [],
    writable: [],
    ...change,
  };
}

const options = { stateDirectory: '/var/lib/comicran', stdio: 'log' } as const;
const plan = (change?: Partial<FullConfig>): Operation[] => planSandbox(config(change), options);
const kinds = (operations: readonly Operation[]): OperationKind[] => operations.map(({ kind }) => kind);
const refused = (change: Partial<FullConfig>, words: RegExp): void => {
  assert.throws(() => plan(change), { code: 'config.bad-path', message: words });
};

suite('the plan of a sandbox', () => {
  test('begins with the root and ends out of its namespaces', () => {
    const operations = plan();
    assert.equal(operations[0]?.kind, 'make-root');
    assert.deepEqual(kinds(operations.slice(-2)), ['start-process', 'end-zygote']);
  });

  test('does in the VM what needs the VM, and pivots before the process starts', () => {
    const order = kinds(plan());
    const before = (a: OperationKind, b: OperationKind): void => {
      assert.ok(order.lastIndexOf(a) < order.indexOf(b), `${a} comes before ${b}`);
    };
    before('add-route', 'enter-namespaces');
    before('make-cgroup', 'enter-namespaces');
    before('make-mounts-private', 'bind-root');
    // A mount that was copied into another user's namespace has flags that cannot be taken from it.
    before('make-namespaces', 'map-root');
    before('map-root', 'enter-namespaces');
    // As root of the VM alone it reaches what is to be mounted.
    before('mount-proc', 'enter-user-namespace');
    before('pivot-root', 'enter-user-namespace');
    before('enter-user-namespace', 'start-process');
    before('start-zygote', 'make-namespaces');
    before('join-cgroup', 'make-namespaces');
    // Its memory is reached by the VM's /proc.
    before('start-seat', 'enter-namespaces');
    before('start-seat', 'mount-proc');
    before('bind-root', 'mount-proc');
    before('mount-proc', 'protect');
    before('mount-proc', 'mask');
    before('mount-tmpfs', 'make-read-only');
    before('make-read-only', 'pivot-root');
    before('pivot-root', 'start-process');
    before('leave-namespaces', 'start-process');
  });

  test('what only its owner can use is known to the view of the tree', () => {
    const files = [
      file('/a'),
      { ...file('/b'), mode: 0o600 },
      { ...file('/c'), mode: 0o750 },
      { ...file('/d'), mode: 0o644 },
    ];
    const directories = [{ path: '/srv/private', mode: 0o700 }];
    const mapping = plan({ files, directories }).find((operation) => operation.kind === 'map-root');
    assert.deepEqual(mapping, { kind: 'map-root', closed: ['/srv/private', '/b', '/c'] });
  });

  test('without a user namespace nothing is done for one', () => {
    const security = { capabilities: [], systemCalls: [], userNamespace: false };
    const order = kinds(plan({ security }));
    assert.ok(!order.includes('map-root') && !order.includes('enter-user-namespace'));
    const owners = plan({ security }).flatMap((operation) => ('owner' in operation ? [operation.owner.uid] : []));
    assert.deepEqual([...new Set(owners)], [0]);
  });

  test('links are quiet before they are up', () => {
    const operations = plan();
    const ups = operations.flatMap((one, index) => (one.kind === 'set-up' && one.link !== 'lo' ? [index] : []));
    const last = operations.findLastIndex(({ kind }) =>
      ['set-sysctl', 'switch-offloads-off', 'receive-on-one-cpu'].includes(kind),
    );
    assert.equal(ups.length, 2);
    assert.ok(ups.every((index) => index > last));
  });

  test('one CPU receives for both ends of the link and for the loopback', () => {
    const steered = plan().flatMap((one) => (one.kind === 'receive-on-one-cpu' ? [`${one.side} ${one.link}`] : []));
    assert.deepEqual(steered, [`vm cr-${tagOf('/var/lib/comicran', 'square')}`, 'sandbox eth0', 'sandbox lo']);
  });

  test('addresses follow from the configuration alone', () => {
    assert.equal(macOf('10.88.0.5'), '02:00:0a:58:00:05');
    const tag = tagOf('/var/lib/comicran', 'square');
    assert.match(tag, /^[0-9a-f]{8}$/);
    assert.notEqual(tag, tagOf('/var/lib/comicran', 'square2'));
    assert.equal(tag, tagOf('/var/lib/comicran/', 'square'));
    const link = plan().find((one) => one.kind === 'make-link');
    assert.deepEqual(link, {
      kind: 'make-link',
      outside: { name: `cr-${tag}`, mac: '02:00:a9:fe:01:01' },
      inside: { name: 'eth0', mac: '02:00:0a:58:00:05' },
    });
  });

  test('a skeleton has a hatchery, and neither process nor route', () => {
    const operations = planSandbox(config(), { ...options, skeleton: { hatcheryPid: 31_000 } });
    const order = kinds(operations);
    assert.ok(!order.includes('start-process'));
    assert.ok(!operations.some((one) => one.kind === 'add-route' && one.side === 'vm'));
    assert.deepEqual(
      operations.find(({ kind }) => kind === 'start-seat'),
      { kind: 'start-seat', pid: 31_000 },
    );
    const without = kinds(plan()).filter((kind) => kind !== 'start-process' && kind !== 'add-route');
    const rest = order.filter((kind) => !['keep-hatchery', 'add-route'].includes(kind));
    assert.deepEqual(rest, without, 'all else is the same');
  });

  test('every operation can be said in one line', () => {
    const both = [
      ...plan({ writable: ['/var/log'] }),
      ...planSandbox(config(), { ...options, skeleton: { hatcheryPid: 9 } }),
    ];
    for (const operation of both) assert.match(describe(operation), /^[^\n]{8,}$/);
    const run = 'run /usr/bin/node "a b" (user 0:0, no capabilities, no new privileges, seccomp)';
    assert.ok(both.map(describe).includes(run));
  });
});

suite('the root directory of a plan', () => {
  const made = (change?: Partial<FullConfig>): string[] =>
    plan(change).flatMap((one) => (one.kind === 'make-directory' ? [one.path] : []));

  test('has every parent once, and before what lies in it', () => {
    const paths = made({ files: [file('/usr/bin/node'), file('/usr/lib/x/libc.so')] });
    assert.deepEqual(paths, [...new Set(paths)]);
    assert.deepEqual(paths, paths.toSorted());
    assert.ok(['/dev', '/proc', '/srv', '/tmp', '/usr/lib/x'].every((path) => paths.includes(path)));
  });

  test('keeps the mode of a directory, also where it is writable', () => {
    const operations = plan({ directories: [{ path: '/var/x', mode: 0o700 }], writable: ['/var/x', '/var/tmp'] });
    assert.ok(operations.some((one) => one.kind === 'make-directory' && one.path === '/var/x' && one.mode === 0o700));
    const mounts = operations.flatMap((one) =>
      one.kind === 'mount-tmpfs' ? [`${one.path} ${one.mode.toString(8)}`] : [],
    );
    assert.deepEqual(mounts, ['/dev 755', '/tmp 1777', '/var/tmp 1777', '/var/x 700']);
  });

  test('never leads through a symbolic link', () => {
    refused({ files: [file('/usr/bin/node'), file('/bin/sh')] }, /'\/bin\/sh' lies behind the symbolic link \/bin/);
    refused({ symlinks: [{ path: '/dev', target: '/etc' }] }, /'\/dev' is a symbolic link and a directory at once/);
    refused({ symlinks: [{ path: '/var', target: '/etc' }], writable: ['/var/log'] }, /behind the symbolic link \/var/);
    refused({ directories: [{ path: '/bin/x', mode: 0o755 }] }, /'\/bin\/x' lies behind the symbolic link \/bin/);
  });

  test('whatever the configuration: refused, or every parent is a directory that the plan itself has made', () => {
    const path = fc
      .array(fc.constantFrom('a', 'b', 'dev', 'tmp'), { minLength: 1, maxLength: 3 })
      .map((names) => `/${names.join('/')}`);
    const some = fc.uniqueArray(path, { maxLength: 4 });
    fc.assert(
      fc.property(some, some, some, some, path, (files, links, directories, writable, workingDirectory) => {
        const change: Partial<FullConfig> = {
          files: files.map(file),
          symlinks: links.map((link) => ({ path: link, target: '/etc' })),
          directories: directories.map((directory) => ({ path: directory, mode: 0o755 })),
          writable,
          process: { ...config().process, workingDirectory },
        };
        let operations: Operation[];
        try {
          operations = plan(change);
        } catch (thrown) {
          assert.ok(thrown instanceof ComicranError && thrown.code === 'config.bad-path');
          return;
        }
        const made = new Set(['/']);
        for (const one of operations) {
          if (!('path' in one) || one.kind === 'protect' || one.kind === 'mask') continue;
          assert.ok(made.has(posix.dirname(one.path)), `${one.kind} ${one.path}`);
          if (one.kind === 'make-directory' || one.kind === 'mount-tmpfs') made.add(one.path);
        }
      }),
    );
  });

  test('a working directory behind a link is somebody else’s to make', () => {
    const process = { ...config().process, workingDirectory: '/bin/there' };
    assert.ok(!made({ process }).includes('/bin/there'));
  });

  test('refuses what would be hidden or is no path', () => {
    refused({ files: [file('/proc/x')] }, /'\/proc\/x' would be hidden/);
    refused({ files: [file('/var/log/x')], writable: ['/var/log'] }, /'\/var\/log\/x' would be hidden/);
    refused({ writable: ['/'] }, /the root is read-only/);
    refused({ writable: ['/proc'] }, /belongs to the kernel/);
    refused({ files: [file('/a/../b')] }, /normal form/);
    refused({ files: [file('a')] }, /normal form/);
    refused({ files: [file('/a/')] }, /normal form/);
    refused({ files: [file('/a'), file('/a')] }, /'\/a' is named twice/);
    refused({ files: [file('/a'), file('/a/b')] }, /'\/a\/b' lies behind the file \/a/);
  });

  test('leaves /tmp to a configuration that has files there', () => {
    const mounts = plan({ files: [file('/tmp/app')] }).filter((one) => one.kind === 'mount-tmpfs');
    assert.deepEqual(
      mounts.map(({ path }) => path),
      ['/dev'],
    );
  });

  test('/dev/shm may be writable', () => {
    const mounts = plan({ writable: ['/dev/shm'] }).flatMap((one) => (one.kind === 'mount-tmpfs' ? [one.path] : []));
    assert.deepEqual(mounts, ['/dev', '/dev/shm', '/tmp']);
  });
});
