/** Bundles as `runc spec` makes them, and worse ones: a full configuration, or every key named that cannot be kept. */
import assert from 'node:assert/strict';
import { truncateSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { buildElf } from '../../../test/support/elf-builder.ts';
import { type FileTree, fileTree } from '../../../test/support/file-tree.ts';
import { ComicranError } from '../../base/errors.ts';
import { parseFullConfig } from '../../base/full-config.ts';
import type { CallRule, SystemCall } from '../../linux/seccomp-program.ts';
import { formatJson } from '../format.ts';
import { type BundleOptions, type Converted, convertBundle } from './bundle.ts';
import { parsePort } from './network.ts';

const PROFILE = new Map<SystemCall, CallRule>([
  ['read', 'allow'],
  ['write', 'allow'],
  ['clone', { argument: 0, test: { kind: 'no-bits-of', mask: 0x7e020000 }, errno: 1 }],
  ['personality', { argument: 0, test: { kind: 'one-of', values: [0, 8] }, errno: 1 }],
  ['clone3', { errno: 38 }],
]);
const OPTIONS: BundleOptions = {
  id: 'box',
  address: '10.88.0.5',
  ports: [],
  ignored: [],
  writable: [],
  alwaysMasked: ['/proc/kcore'],
  alwaysReadonly: ['/proc/sys'],
  profileFor: () => PROFILE,
};
/** What `runc spec` writes, but for the terminal, with some more. */
const SPEC = {
  ociVersion: '1.0.2-dev',
  process: {
    user: { uid: 0, gid: 0 },
    args: ['server', '-p', '7'],
    env: ['PATH=/usr/local/bin:/bin', 'TERM=xterm'],
    cwd: '/',
    capabilities: { bounding: ['CAP_KILL'], effective: ['CAP_KILL'], permitted: ['CAP_KILL'], ambient: ['CAP_KILL'] },
    rlimits: [{ type: 'RLIMIT_NOFILE', hard: 2 ** 64, soft: 1024 }],
    noNewPrivileges: true,
    oomScoreAdj: 100,
  },
  root: { path: 'rootfs', readonly: true },
  hostname: 'box',
  mounts: [
    { destination: '/proc', type: 'proc', source: 'proc' },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/shm',
      type: 'tmpfs',
      source: 'shm',
      options: ['nosuid', 'noexec', 'mode=1777', 'size=65536k'],
    },
    { destination: '/run/x', type: 'tmpfs', source: 'tmpfs', options: ['mode=700'] },
    { destination: '/etc/hosts', type: 'bind', source: '/etc/hosts', options: ['rbind', 'ro'] },
  ],
  linux: {
    namespaces: ['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup', 'user', 'time'].map((type) => ({ type })),
    maskedPaths: ['/proc/kcore', '/sys/firmware', '/proc/cpuinfo'],
    readonlyPaths: ['/proc/sys'],
    resources: {
      devices: [{ allow: false, access: 'rwm' }],
      memory: { limit: 1048576 },
      cpu: { shares: 1024, quota: 50000, period: 100000 },
      pids: { limit: 20 },
      blockIO: { weight: 1000 },
    },
  },
};

function bundle(config: unknown = SPEC): FileTree {
  return fileTree({
    'config.json': typeof config === 'string' ? config : JSON.stringify(config),
    'rootfs/bin/server': buildElf({ static: true, type: 2 }),
    'rootfs/etc/hosts': 'theirs',
    'rootfs/etc/mtab': { link: '/proc/mounts' },
    'rootfs/var/run': { link: '/run' },
    'rootfs/var/data': 'data',
    'rootfs/run/x/hidden': 'hidden',
    'rootfs/dev/console': '',
  });
}

async function errorsOf(config: unknown, options: Partial<BundleOptions> = {}): Promise<string[]> {
  using tree = bundle(config);
  try {
    await convertBundle(tree.root, { ...OPTIONS, ...options });
    return [];
  } catch (thrown) {
    assert.ok(thrown instanceof ComicranError, thrown instanceof Error ? thrown.stack : '');
    assert.equal(thrown.code, 'config.invalid');
    return thrown.message
      .split('\n')
      .slice(1)
      .map((line) => line.trim());
  }
}

async function converted(config: unknown, options: Partial<BundleOptions> = {}): Promise<Converted> {
  using tree = bundle(config);
  return await convertBundle(tree.root, { ...OPTIONS, ...options });
}

test('what runc writes becomes a full configuration', async () => {
  const { config, notes } = await converted(SPEC, { ports: [parsePort('7/udp,service=70')] });
  assert.deepEqual(parseFullConfig(formatJson(config), 'x'), config);
  assert.deepEqual(config.process, {
    executable: '/bin/server',
    arguments: ['-p', '7'],
    environment: { PATH: '/usr/local/bin:/bin', TERM: 'xterm' },
    workingDirectory: '/',
    user: { uid: 0, gid: 0, groups: [] },
    rlimits: { nofile: { soft: 1024, hard: Number.MAX_SAFE_INTEGER } },
    oomScoreAdjust: 100,
  });
  assert.deepEqual(config.network, { address: '10.88.0.5', ports: [{ port: 7, protocol: 'udp', service: 70 }] });
  assert.deepEqual(config.limits, { memory: 1048576, cpuWeight: 40, cpuPercent: 50, pids: 20, ioWeight: 10000 });
  assert.deepEqual(config.security, { capabilities: ['KILL'], systemCalls: [], maskedPaths: ['/proc/cpuinfo'] });
  assert.deepEqual(config.mounts, [
    { kind: 'tmpfs', path: '/dev/shm', size: 65536 * 1024 },
    { kind: 'bind', path: '/etc/hosts', source: '/etc/hosts', executable: true },
    { kind: 'tmpfs', path: '/run/x', executable: true },
  ]);
  assert.deepEqual(
    config.files.map(({ path }) => path),
    ['/bin/server', '/var/data'],
  );
  assert.deepEqual(config.symlinks.find(({ path }) => path === '/etc/mtab')?.target, '/proc/mounts');
  assert.equal(config.directories.find(({ path }) => path === '/run/x')?.mode, 0o700);
  assert.ok(notes.some(({ path, problem }) => path === 'mounts[4]' && /does not move/.test(problem)));
});

test('a mount behind a link of the root file system is where the link leads', async () => {
  const mounts = [{ destination: '/var/run/y', type: 'tmpfs', source: 'tmpfs' }];
  const { config } = await converted({ ...SPEC, mounts });
  assert.equal(config.mounts?.[0]?.path, '/run/y');
});

const { linux, process } = SPEC;
const WORSE: readonly [string, unknown, RegExp][] = [
  ['a hook', { ...SPEC, hooks: { prestart: [{ path: '/bin/net' }] } }, /^hooks\.prestart\[0\]: \/bin\/net would not/],
  ['a device', { ...SPEC, linux: { ...linux, devices: [{ path: '/dev/sda' }] } }, /^linux\.devices\[0\]: \/dev\/sda/],
  [
    'a namespace of others',
    { ...SPEC, linux: { ...linux, namespaces: [{ type: 'network', path: '/proc/1/ns/net' }] } },
    /^linux\.namespaces\[0\]\.path: \/proc\/1\/ns\/net: a sandbox shares no/,
  ],
  ['propagation', { ...SPEC, linux: { ...linux, rootfsPropagation: 'shared' } }, /^linux\.rootfsPropagation: shared/],
  [
    'a capability of the machine',
    { ...SPEC, process: { ...process, capabilities: { bounding: ['CAP_SYS_ADMIN'] } } },
    /^process\.capabilities\.bounding: CAP_SYS_ADMIN/,
  ],
  ['a profile of others', { ...SPEC, process: { ...process, apparmorProfile: 'x' } }, /^process\.apparmorProfile: x/],
  ['an unknown key', { ...SPEC, linux: { ...linux, newThing: 1 } }, /^linux\.newThing: a key that this program/],
  [
    'a limit that is not there',
    { ...SPEC, linux: { ...linux, resources: { cpu: { cpus: '0' } } } },
    /^linux\.resources\.cpu\.cpus: 0: it would run on other CPUs/,
  ],
  ['another file system', { ...SPEC, mounts: [{ destination: '/x', type: 'nfs' }] }, /^mounts\[0\]: \/x: .* type nfs/],
  ['a version', { ...SPEC, ociVersion: '2.0.0' }, /^ociVersion: 2\.0\.0/],
  ['no program', { ...SPEC, process: { ...process, args: ['none'] } }, /^process\.args\[0\]: none is no executable/],
  ['an id', { ...SPEC, process: { ...process, user: { uid: 4294967295, gid: 0 } } }, /^process\.user\.uid: 4294967295/],
  ['a wrong type', { ...SPEC, process: { ...process, args: 'sh' } }, /^process\.args: sh is not a list of text/],
];

for (const [name, config, expected] of WORSE) {
  test(`${name} is named with its place, and can be done without where that is possible`, async () => {
    const errors = await errorsOf(config);
    assert.match(errors[0] ?? '', expected);
    assert.ok(errors.length <= 2, errors.join('\n'));
  });
}

test('what is ignored is a note; ignoring nothing is an error', async () => {
  const config = { ...SPEC, hooks: { poststop: [{ path: '/bin/a' }, { path: '/bin/b' }] } };
  const { notes } = await converted(config, { ignored: ['hooks'] });
  assert.equal(notes.filter(({ problem }) => problem.startsWith('ignored: ')).length, 2);
  assert.match((await errorsOf(SPEC, { ignored: ['hooks'] }))[0]!, /^hooks: .* nothing to ignore/);
});

test('a profile of system calls takes some away and adds none', async () => {
  const only = async (syscalls: unknown[], defaultAction = 'SCMP_ACT_ERRNO') => {
    const { config, notes } = await converted({ ...SPEC, linux: { ...linux, seccomp: { defaultAction, syscalls } } });
    return { only: config.security?.onlySystemCalls, said: notes.map(({ problem }) => problem).join('\n') };
  };
  const allow = (names: string[], args?: unknown[]) => ({ names, action: 'SCMP_ACT_ALLOW', ...(args ? { args } : {}) });
  const clone = allow(['clone'], [{ index: 0, value: 2114060288, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }]);
  const personality = [0, 8].map((value) => allow(['personality'], [{ index: 0, value, op: 'SCMP_CMP_EQ' }]));
  const whole = await only([allow(['read', 'write', 'mount', 'socketcall']), clone, ...personality]);
  assert.equal(whole.only, undefined);
  assert.match(whole.said, /not given without security\.systemCalls .*: mount$/m);
  assert.deepEqual((await only([allow(['read']), clone])).only, ['clone', 'read']);
  const denied = [{ names: ['write'], action: 'SCMP_ACT_ERRNO' }];
  assert.deepEqual((await only(denied, 'SCMP_ACT_ALLOW')).only, ['clone', 'personality', 'read']);
  const narrow = {
    ...SPEC,
    linux: {
      ...linux,
      seccomp: {
        defaultAction: 'SCMP_ACT_KILL',
        syscalls: [allow(['read'], [{ index: 0, value: 0, op: 'SCMP_CMP_EQ' }])],
      },
    },
  };
  assert.match(
    (await errorsOf(narrow))[0]!,
    /^linux\.seccomp\.syscalls\[0\]: read: a sandbox gives it with other arguments/,
  );
});

test('a file of 1 GB, nesting without end and a key twice are refused at once', async () => {
  using tree = bundle();
  const message = async (): Promise<string> => {
    const thrown = await convertBundle(tree.root, OPTIONS).catch((one: unknown) => one);
    assert.ok(thrown instanceof ComicranError);
    return thrown.message;
  };
  tree.add({ 'config.json': '{"a": 1, "a": 2}' });
  assert.match(await message(), /config\.json:1:10: the key a stands here twice/);
  tree.add({ 'config.json': '['.repeat(1_000_000) });
  assert.match(await message(), /is not JSON/);
  tree.add({ 'config.json': `{"linux": ${'{"resources": '.repeat(60_000)}1${'}'.repeat(60_001)}` });
  assert.match(await message(), /resources/);
  truncateSync(tree.at('config.json'), 2 ** 30);
  assert.match(await message(), /longer than 1048576 bytes/);
});

test('damaged bundles are converted or refused with one ComicranError', { timeout: 120_000 }, async () => {
  using tree = bundle();
  const paths: string[][] = [];
  const collect = (value: unknown, path: string[]): void => {
    if (path.length > 0) paths.push(path);
    if (typeof value === 'object' && value !== null)
      for (const [key, inner] of Object.entries(value)) collect(inner, [...path, key]);
  };
  collect(SPEC, []);
  const nasty = fc.oneof(
    fc.constantFrom<unknown>(null, -1, 2 ** 64, '', '../../..', '/proc/1', '\0', {}, [], [null], [[]], {
      path: [],
    }),
    fc.jsonValue({ maxDepth: 2 }),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.constantFrom(...paths), nasty), { minLength: 1, maxLength: 3 }),
      async (edits) => {
        const config = structuredClone(SPEC) as unknown as Record<string, unknown>;
        for (const [path, value] of edits) {
          let at: unknown = config;
          for (const step of path.slice(0, -1)) at = (at as Record<string, unknown> | undefined)?.[step];
          if (typeof at === 'object' && at !== null) (at as Record<string, unknown>)[path.at(-1)!] = value;
        }
        tree.add({ 'config.json': JSON.stringify(config) });
        try {
          const result = await convertBundle(tree.root, OPTIONS);
          assert.deepEqual(parseFullConfig(formatJson(result.config), 'x'), result.config);
        } catch (thrown) {
          assert.ok(thrown instanceof ComicranError, thrown instanceof Error ? thrown.stack : String(thrown));
          assert.ok(thrown.message.length < 20_000);
        }
      },
    ),
    { numRuns: 300 },
  );
});
