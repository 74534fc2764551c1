/** Who the users of a sandbox are on the VM. Needs root. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FullConfig } from '../../src/base/sandbox-config.ts';
import { idMapsOf, rootOf } from '../../src/jailor/ids.ts';
import {
  forgetSandbox,
  readSandboxState,
  type SandboxState,
  sandboxPaths,
  startSandbox,
} from '../../src/jailor/index.ts';
import { mount, unmount } from '../../src/linux/mount.ts';
import { fileEntry, inVm, needs, runForeground, startForeground, testConfig } from './support.ts';

/** The four of /proc/PID/status. */
const fourTimes = (id: number): string => Array(4).fill(id).join('\t');

describe('users of a sandbox', { skip: needs, timeout: 120_000 }, () => {
  const state = inVm((path) => {
    // Users other than root come by here.
    chmodSync(path, 0o755);
  });
  const { uid: ROOT, gid: ROOT_GROUP } = rootOf(idMapsOf(testConfig({})));

  const run = (script: string, change: Partial<FullConfig> = {}) =>
    runForeground(state.path, testConfig({ script, change }));
  const says = async (script: string, change: Partial<FullConfig> = {}): Promise<string> => {
    const done = await run(script, change);
    assert.equal(done.stderr, '');
    return done.stdout.trimEnd();
  };
  const status = (pid: number, name: string): string | undefined =>
    new RegExp(`^${name}:\t(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];

  /** Starts a sandbox that waits, and says what it is. */
  async function whileRunning(change: Partial<FullConfig>, use: (state: SandboxState) => void): Promise<void> {
    const sandbox = startForeground(state.path, testConfig({ script: 'echo up; read line', change }));
    try {
      await sandbox.printed(/up/);
      let now = readSandboxState(state.path, 'jailtest');
      // The process may say something before jailor has said that it runs.
      for (; now.process === null; now = readSandboxState(state.path, 'jailtest')) await sleep(5);
      use(now);
    } finally {
      sandbox.child.stdin.end('\n');
      await sandbox.finished;
    }
  }

  test('what the kernel counts by user is its own: its namespaces belong to root inside, not to root of the VM', async () => {
    // ioctl_ns(2): the user who has made a user namespace. Inotify instances, message queues, pending signals and timers of its
    // processes count for that one, too, and there are 128 inotify instances for a user.
    const NS_GET_OWNER_UID = 0xb704;
    await whileRunning({}, ({ init }) => {
      const code = `open(my $space, '<', '/proc/${init!.pid}/ns/user') or die; my $uid = pack('L', 0);
        ioctl($space, ${NS_GET_OWNER_UID}, $uid) or die "$!"; print unpack('L', $uid)`;
      assert.equal(execFileSync('perl', ['-e', code], { encoding: 'latin1' }), String(ROOT));
    });
  });

  test('root inside, and the init with it, is nobody of the VM', async () => {
    await whileRunning({}, ({ init, process, ids }) => {
      for (const pid of [init!.pid, process!.pid]) {
        assert.equal(status(pid, 'Uid'), fourTimes(ROOT));
        assert.equal(status(pid, 'Gid'), fourTimes(ROOT_GROUP));
        assert.equal(status(pid, 'Groups')?.trim(), '');
      }
      assert.deepEqual(ids, idMapsOf(testConfig({})));
    });
    assert.equal(await says('id -u; id -g'), '0\n0');
    const map = (await says('cat /proc/self/uid_map')).split('\n').map((line) => line.trim().split(/\s+/).join(' '));
    assert.deepEqual(map, [`0 ${ROOT} 4000`, `65534 ${ROOT + 4095} 1`]);
  });

  test('all eight namespaces are its own', async () => {
    await whileRunning({}, ({ init, process }) => {
      for (const kind of ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'time', 'user', 'uts']) {
        const of = (pid: number | string): string => readlinkSync(`/proc/${pid}/ns/${kind}`);
        assert.notEqual(of(process!.pid), of('self'), kind);
        assert.equal(of(process!.pid), of(init!.pid), kind);
      }
    });
  });

  test('the files of the sandbox are its root’s, also those that only root may read', async () => {
    const secret = join(state.path, 'secret');
    writeFileSync(secret, 'word\n', { mode: 0o600 });
    const files = [...testConfig({}).files, { ...fileEntry(secret, 0o600), path: '/etc/secret' }];
    const owners =
      'for at in / /bin/sh /tmp /dev /dev/null /etc/secret; do set -- $(ls -ldn $at); echo $at $3:$4; done';
    assert.deepEqual((await says(`cat /etc/secret; ${owners}`, { files })).split('\n'), [
      'word',
      ...['/ 0:0', '/bin/sh 0:0', '/tmp 0:0', '/dev 0:0', '/dev/null 0:0', '/etc/secret 0:0'],
    ]);
    assert.equal(statSync(join(state.path, 'store')).uid, 0);
    for (const name of readdirSync(join(state.path, 'store')))
      assert.equal(statSync(join(state.path, 'store', name)).uid, 0);
  });

  test('of a bound directory it has what its id on the VM has, and what it makes there is its id’s', async () => {
    const source = join(state.path, 'shared');
    mkdirSync(source, { mode: 0o755 });
    writeFileSync(join(source, 'secret'), 'of the VM\n', { mode: 0o600 });
    const mounts = [{ kind: 'bind', path: '/srv/data', source, writable: true }] as const;
    const script = '(cat /srv/data/secret; echo mine > /srv/data/made) 2>/dev/null; ls -ln /srv/data/secret';
    assert.match(await says(script, { mounts }), /^-rw------- 1 65534 65534 /);
    chownSync(source, ROOT, ROOT_GROUP);
    await says('echo mine > /srv/data/made', { mounts });
    const { uid, gid } = statSync(join(source, 'made'));
    assert.deepEqual({ uid, gid }, { uid: ROOT, gid: ROOT_GROUP });
    const user = { uid: 33, gid: 44, groups: [] };
    chmodSync(source, 0o777);
    const process = { ...testConfig({ script: 'echo mine > /srv/data/of-user' }).process, user };
    assert.equal((await runForeground(state.path, testConfig({ change: { mounts, process } }))).stderr, '');
    assert.equal(statSync(join(source, 'of-user')).uid, ROOT + 33);
    rmSync(source, { recursive: true });
  });

  test('capabilities are those of the sandbox, not of the VM', async () => {
    const security = {
      capabilities: ['SYS_ADMIN', 'SYS_TIME', 'SYS_PTRACE', 'DAC_OVERRIDE'],
      systemCalls: ['sethostname'],
    };
    const source = join(state.path, 'private');
    mkdirSync(source, { mode: 0o700 });
    const mounts = [{ kind: 'bind', path: '/srv/data', source, writable: true }] as const;
    const script = 'echo x > /srv/data/x; echo 60 > /proc/sys/vm/swappiness; hostname other && hostname';
    const done = await run(`(${script}) 2>&1`, { security, mounts });
    assert.match(done.stdout, /Permission denied[\s\S]*(Permission denied|Read-only)[\s\S]*\nother\n$/);
    assert.deepEqual(readdirSync(source), []);
  });

  test('a process opens its standard output anew, whoever it is', async () => {
    for (const user of [undefined, { uid: 33, gid: 33, groups: [] }, { uid: 70_000, gid: 70_000, groups: [80_000] }]) {
      const process = { ...testConfig({ script: 'echo $(id -u) > /dev/stdout; echo trouble > /dev/stderr' }).process };
      const config = testConfig({ change: { process: user === undefined ? process : { ...process, user } } });
      const client = await startSandbox({ stateDirectory: state.path, config });
      await client.waitFor(({ phase }) => phase === 'exited');
      const log = readFileSync(sandboxPaths(state.path, 'jailtest').log, 'utf8').trimEnd().split('\n');
      const lines = log.map((line) => JSON.parse(line)).map(({ stream, line }) => `${stream} ${line}`);
      assert.deepEqual(lines.toSorted(), ['stderr trouble', `stdout ${user?.uid ?? 0}`]);
      await forgetSandbox(state.path, 'jailtest');
    }
  });

  test('a configuration can do without, and can name its ids', async () => {
    const security = { capabilities: [], systemCalls: [] };
    await whileRunning({ security: { ...security, userNamespace: false } }, ({ process, ids }) => {
      assert.equal(status(process!.pid, 'Uid'), fourTimes(0));
      assert.equal(readlinkSync(`/proc/${process!.pid}/ns/user`), readlinkSync('/proc/self/ns/user'));
      assert.deepEqual(ids.users, []);
    });
    await whileRunning({ security: { ...security, firstId: 300_000 } }, ({ process }) => {
      assert.equal(status(process!.pid, 'Uid'), fourTimes(300_000));
    });
  });

  test('on a file system that knows no other owners files are nobody’s, and what only root can read is refused', async () => {
    const directory = join(state.path, 'ramfs');
    mkdirSync(directory);
    mount({ source: 'ramfs', target: directory, type: 'ramfs' });
    try {
      mkdirSync(join(directory, 'sandboxes'));
      const script =
        'ls -ln /bin/sh; (echo x > /x) 2>/dev/null || echo read-only; echo $(id -u) > /tmp/mine; cat /tmp/mine';
      const { stdout } = await runForeground(directory, testConfig({ script }));
      assert.match(stdout, /^-rwxr-xr-x \d+ 65534 65534 .*\nread-only\n0\n$/);
      const secret = join(state.path, 'secret');
      writeFileSync(secret, 'word\n', { mode: 0o600 });
      const files = [...testConfig({}).files, { ...fileEntry(secret, 0o600), path: '/etc/secret' }];
      const refused = await runForeground(directory, testConfig({ change: { files } }));
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /\/etc\/secret can be read by root alone, and the file system of .*ramfs/);
      assert.match(refused.stderr, /ext4[\s\S]*userNamespace: false/);
      assert.deepEqual(readdirSync(join(directory, 'sandboxes')), []);
      const security = { capabilities: [], systemCalls: [], userNamespace: false };
      const without = await runForeground(
        directory,
        testConfig({ script: 'cat /etc/secret', change: { files, security } }),
      );
      assert.equal(without.stdout, 'word\n');
    } finally {
      unmount(directory);
    }
  });
});
