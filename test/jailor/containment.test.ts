/** What the root process of a sandbox is, may do and may use. Needs root. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { FullConfig } from '../../src/base/sandbox-config.ts';
import { idMapsOf, rootOf } from '../../src/jailor/ids.ts';
import { cgroupName, tagOf } from '../../src/jailor/naming.ts';
import { fileEntry, inVm, needs, runForeground, startForeground, testConfig } from './support.ts';

const NEEDED_BY_A_SHELL = [
  ...['read', 'write', 'open', 'openat', 'close', 'fstat', 'newfstatat', 'stat', 'mmap', 'mprotect', 'munmap', 'brk'],
  ...['execve', 'exit_group', 'arch_prctl', 'set_tid_address', 'set_robust_list', 'rseq', 'prlimit64', 'getrandom'],
  ...[
    'pread64',
    'access',
    'rt_sigaction',
    'rt_sigprocmask',
    'getpid',
    'getppid',
    'getuid',
    'geteuid',
    'getgid',
    'getegid',
  ],
  ...['getcwd', 'fcntl', 'ioctl', 'unshare'],
] as const;

describe('containment', { skip: needs, timeout: 120_000 }, () => {
  const state = inVm();

  const run = (script: string, change: Partial<FullConfig> = {}) =>
    runForeground(state.path, testConfig({ script, change }));
  const says = async (script: string, change: Partial<FullConfig> = {}): Promise<string> => {
    const done = await run(script, change);
    assert.equal(done.stderr, '');
    return done.stdout.trimEnd();
  };
  const process_ = (change: Partial<FullConfig['process']>): Partial<FullConfig> => {
    // The script stands in the arguments, which run() sets: so it is taken from there.
    return { process: { ...testConfig({}).process, ...change } };
  };
  const script = (text: string): string[] => ['-c', text];
  const field = (status: string, name: string): string | undefined =>
    new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1];

  test('by default it has no capability in any set, gains none, and has a filter', async () => {
    const status = await says('cat /proc/self/status');
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      assert.equal(BigInt(`0x${field(status, set)}`), 0n, set);
    assert.equal(field(status, 'NoNewPrivs'), '1');
    assert.equal(field(status, 'Seccomp'), '2');
  });

  test('declared capabilities stand in all sets, whoever the user is', async () => {
    const change = process_({
      user: { uid: 33, gid: 44, groups: [55, 66] },
      arguments: script('cat /proc/self/status'),
    });
    const status = await says('', { ...change, security: { capabilities: ['NET_RAW', 'CHOWN'], systemCalls: [] } });
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      assert.equal(BigInt(`0x${field(status, set)}`), (1n << 13n) | 1n, set);
    assert.equal(field(status, 'Uid'), '33\t33\t33\t33');
    assert.equal(field(status, 'Gid'), '44\t44\t44\t44');
    assert.equal(field(status, 'Groups')?.trim(), '55 66');
  });

  test('limits of the process and its out-of-memory score are as declared', async () => {
    const change = process_({
      rlimits: { nofile: 64, core: 0, fsize: { soft: 4096, hard: 8192 } },
      oomScoreAdjust: 500,
      arguments: script('ulimit -Sn; ulimit -c; ulimit -Sf; ulimit -Hf; cat /proc/self/oom_score_adj'),
    });
    // The shell counts files in blocks of 512 bytes.
    assert.deepEqual((await says('', change)).split('\n'), ['64', '0', '8', '16', '500']);
  });

  test('what /proc says of the machine is hidden or cannot be changed; there is no /sys', async () => {
    const hidden = ['kcore', 'keys', 'timer_list', 'kallsyms'].filter((name) => existsSync(`/proc/${name}`));
    const cats = hidden.map((name) => `cat /proc/${name}`).join('; ');
    assert.equal(await says(`${cats}; ls /proc/acpi`), '');
    const paths = '/proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/vm/drop_caches';
    assert.equal(
      await says(`for at in ${paths}; do (echo x > $at) 2>/dev/null && echo $at; done; ls -d /sys 2>/dev/null`),
      '',
    );
  });

  test('no mount of it honours set-user-ID or devices, and programs lie in the root alone', async () => {
    const change = {
      writable: ['/var/lib/app'],
      mounts: [{ kind: 'tmpfs', path: '/opt/run', executable: true, size: 1 << 20 }] as const,
    };
    const lines = (await says('cat /proc/mounts', change)).split('\n').map((line) => line.split(' '));
    const flags = new Map(lines.map(([, path = '', , options = '']) => [path, options.split(',')]));
    for (const [path, options] of flags) {
      assert.ok(options.includes('nosuid'), `${path} ${options}`);
      assert.ok(
        options.includes('nodev') || path.startsWith('/dev') || path.startsWith('/proc/'),
        `${path} ${options}`,
      );
      assert.equal(options.includes('noexec'), !['/', '/opt/run'].includes(path), `${path} ${options}`);
    }
    assert.ok(flags.get('/')?.includes('ro') && flags.get('/dev')?.includes('ro'));
    assert.ok(flags.get('/var/lib/app')?.includes('rw') && flags.get('/opt/run')?.includes('size=1024k'));
    const copied = 'cat /bin/true > $at/true; chmod 755 $at/true; $at/true && echo $at';
    const files = [...testConfig({}).files, fileEntry('/bin/true'), fileEntry('/bin/chmod')];
    const ran = await run(`for at in /tmp /opt/run; do ${copied}; done`, { ...change, files });
    assert.equal(ran.stdout, '/opt/run\n');
  });
  test('a directory of the VM can be bound, read-only if it is not said otherwise', async () => {
    const source = join(state.path, 'shared');
    mkdirSync(source);
    writeFileSync(join(source, 'word'), 'hello\n');
    const bind = { kind: 'bind', path: '/srv/data', source } as const;
    const text = 'cat /srv/data/word; (echo more > /srv/data/x) 2>/dev/null && echo written';
    assert.equal(await says(text, { mounts: [bind] }), 'hello');
    // It is root's of the VM, which root inside is not.
    assert.equal(await says(text, { mounts: [{ ...bind, writable: true }] }), 'hello');
    const { uid, gid } = rootOf(idMapsOf(testConfig({})));
    chownSync(source, uid, gid);
    assert.equal(await says(text, { mounts: [{ ...bind, writable: true }] }), 'hello\nwritten');
    assert.equal(readFileSync(join(source, 'x'), 'utf8'), 'more\n');
    const missing = await run('true', { mounts: [{ ...bind, source: '/absent' }] });
    assert.match(missing.stderr, /\/absent, which is to be mounted at \/srv\/data, is not there/);
    rmSync(source, { recursive: true });
  });

  test('a file of the VM can be bound, also into a writable directory', async () => {
    const source = join(state.path, 'word');
    writeFileSync(source, 'hello\n');
    chmodSync(source, 0o666); // root inside is nobody here
    const text = (path: string) => `cat ${path}; (echo more > ${path}) 2>/dev/null && echo written`;
    for (const path of ['/etc/word', '/var/cache/deep/word']) {
      const bind = { kind: 'bind', path, source } as const;
      const change = { writable: ['/var/cache'] };
      writeFileSync(source, 'hello\n');
      assert.equal(await says(text(path), { ...change, mounts: [bind] }), 'hello');
      assert.equal(await says(text(path), { ...change, mounts: [{ ...bind, writable: true }] }), 'hello\nwritten');
      assert.equal(readFileSync(source, 'utf8'), 'more\n');
    }
    const device = { kind: 'bind', path: '/srv/zero', source: '/dev/zero' } as const;
    assert.match((await run('true', { mounts: [device] })).stderr, /\/dev\/zero, .* is neither a file nor a directory/);
    const inside = { kind: 'tmpfs', path: '/etc/word/x' } as const;
    const below = await run('true', { mounts: [{ kind: 'bind', path: '/etc/word', source }, inside] });
    assert.match(below.stderr, /not below \/etc\/word, which is the machine's own/);
    rmSync(source);
  });

  test('a device node that has got in opens nothing, with the capability to make some, too', async () => {
    const source = join(state.path, 'devices');
    mkdirSync(source);
    execFileSync('mknod', [join(source, 'zero'), 'c', '1', '5']);
    const files = [...testConfig({}).files, fileEntry('/usr/bin/mknod'), fileEntry('/usr/bin/head')];
    const bind = { kind: 'bind', path: '/srv/devices', source, writable: true } as const;
    const change = {
      files,
      mounts: [bind],
      security: { capabilities: ['MKNOD'], systemCalls: [], userNamespace: false },
    };
    const tries = ['/srv/devices/zero', '/srv/devices/own', '/tmp/own', '/dev/own'];
    const text = tries
      .map((path) => `mknod ${path} c 1 5; head -c 1 ${path} >/dev/null && echo opened ${path}`)
      .join(';');
    const done = await run(text, change);
    assert.equal(done.stdout, '', done.stderr);
    assert.match(done.stderr, /'\/srv\/devices\/own' for reading: Permission denied/);
    assert.match(done.stderr, /\/dev\/own: Read-only file system/);
    rmSync(source, { recursive: true });
  });

  test('more of /proc can be hidden or made read-only', async () => {
    const security = {
      capabilities: [],
      systemCalls: [],
      maskedPaths: ['/proc/cpuinfo', '/proc/sys/fs', '/proc/absent'],
    };
    const text = 'cat /proc/cpuinfo; ls /proc/sys/fs; echo done';
    assert.equal(await says(text, { security }), 'done');
    const mounts = await says('cat /proc/self/mounts', { security: { ...security, readonlyPaths: ['/proc/driver'] } });
    assert.match(mounts, /^proc \/proc\/driver proc ro,/m);
  });

  test('system calls beyond the profile are refused, unless they are declared', async () => {
    const files = [...testConfig({}).files, fileEntry('/usr/bin/unshare'), fileEntry('/usr/bin/setarch')];
    const denied = await run('unshare --user true', { files });
    assert.match(denied.stderr, /unshare failed: Operation not permitted/);
    const security = { capabilities: [], systemCalls: ['unshare'] };
    const allowed = await run('unshare --user sh -c "echo in"', { files, security });
    assert.equal(allowed.stdout, 'in\n', allowed.stderr);
    const wrong = await run('true', { security: { capabilities: [], systemCalls: ['unshared'] } });
    assert.match(wrong.stderr, /security.systemCalls: unshared: there is no such system call/);
    const only = await run('echo in; hostname other; id', {
      security: { ...security, onlySystemCalls: [...NEEDED_BY_A_SHELL] },
    });
    assert.equal(only.stdout, 'in\n', only.stderr);
    const ring = await run('true', { security: { capabilities: [], systemCalls: ['io_uring_setup'] } });
    assert.match(ring.stderr, /cannot be moved/);
  });

  test('limits of the sandbox are set in its cgroup, by default too', async () => {
    const value = async (limits: FullConfig['limits'], files: readonly string[]): Promise<string | undefined> => {
      const sandbox = startForeground(
        state.path,
        testConfig({ script: 'echo up; read line', ...(limits === undefined ? {} : { change: { limits } }) }),
      );
      await sandbox.printed(/up/);
      const name = cgroupName(tagOf(state.path, 'jailtest'));
      const found = files.map((file) => file.replace('GROUP', name)).find(existsSync);
      const text = found === undefined ? undefined : readFileSync(found, 'latin1').trim();
      sandbox.child.stdin.end('\n');
      await sandbox.finished;
      return text;
    };
    const pids = ['/sys/fs/cgroup/pids/GROUP/pids.max', '/sys/fs/cgroup/comicran/GROUP/pids.max'];
    const memory = ['/sys/fs/cgroup/memory/GROUP/memory.limit_in_bytes', '/sys/fs/cgroup/comicran/GROUP/memory.max'];
    const cpu = ['/sys/fs/cgroup/cpu/GROUP/cpu.cfs_quota_us', '/sys/fs/cgroup/comicran/GROUP/cpu.max'];
    assert.equal(await value(undefined, pids), '512');
    assert.equal(await value({ memory: 64 * 2 ** 20 }, memory), String(64 * 2 ** 20));
    assert.match((await value({ cpuPercent: 50 }, cpu)) ?? '', /^50000\b/);
  });

  test('what is written to the disk waits for its limit; where that cannot be, no sandbox is made', async () => {
    const source = join(state.path, 'written');
    mkdirSync(source, { mode: 0o777 });
    chmodSync(source, 0o777);
    const [bytes, rate] = [2 * 2 ** 20, 2 ** 20];
    const change = {
      files: [...testConfig({}).files, fileEntry('/usr/bin/dd')],
      mounts: [{ kind: 'bind', path: '/srv/written', source, writable: true }],
      limits: { ioWriteBytes: rate, ioReadBytes: rate },
    } as const;
    const begin = process.hrtime.bigint();
    const script = `dd if=/dev/zero of=/srv/written/file bs=64k count=${bytes / 2 ** 16} conv=fsync 2>/dev/null; echo written`;
    const done = await run(script, change);
    const seconds = Number(process.hrtime.bigint() - begin) / 1e9;
    rmSync(source, { recursive: true });
    if (done.code === 0) {
      // It can take longer, and never less: a burst is a tenth of a second.
      assert.equal(done.stdout, 'written\n');
      assert.ok(seconds > bytes / rate - 0.5, `${bytes} bytes in ${seconds} s`);
    } else {
      // No controller for it, or a state directory that is on no disk.
      assert.match(done.stderr, /limits\.io(Read|Write)Bytes cannot be set on this machine: .*\n {2}next: /);
      assert.equal(done.stdout, '');
    }
  });

  test('a sandbox has no more processes than it may have, and no more memory', async () => {
    const bomb = 'i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done; echo not reached';
    const many = await run(bomb, { limits: { pids: 16 } });
    assert.match(many.stderr, /fork/i);
    assert.doesNotMatch(many.stdout, /not reached/);
    const large = await run('x=$(cat /dev/zero | tr "\\\\0" x); echo survived', {
      limits: { memory: 32 * 2 ** 20 },
      files: [...testConfig({}).files, fileEntry('/usr/bin/tr')],
    });
    assert.equal(large.code, 128 + 9);
    assert.match(large.stderr, /was out of memory/);
  });
});
