/** A look into a sandbox that runs. Needs root. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FullConfig } from '../../src/base/sandbox-config.ts';
import { type ControlClient, forgetSandbox, startSandbox } from '../../src/jailor/index.ts';
import { cgroupProcesses } from '../../src/linux/cgroup.ts';
import { isAlive } from '../../src/linux/process-identity.ts';
import { inVm, leavesNothing, needs, PROGRAM, testConfig } from './support.ts';

const ID = 'jailtest';

describe('jailor exec', { skip: needs, timeout: 120_000 }, () => {
  const state = inVm();
  let client: ControlClient;

  leavesNothing(state, async () => {
    await client.terminate({ graceMs: 0 }).catch(() => undefined);
    while (isAlive(client.state.jailor)) await sleep(5);
    await forgetSandbox(state.path, ID);
  });

  async function start(change: Partial<FullConfig> = {}): Promise<void> {
    const config = testConfig({ script: 'exec sleep 1000', change });
    client = await startSandbox({ stateDirectory: state.path, config });
  }

  function begin(words: readonly string[], flags: readonly string[] = []) {
    const child = spawn(PROGRAM, ['jailor', 'exec', ID, '--state', state.path, ...flags, '--', ...words]);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const printed = async (wanted: RegExp): Promise<void> => {
      while (!wanted.test(stdout)) {
        assert.equal(child.exitCode, null, `${stdout}${stderr}`);
        await sleep(5);
      }
    };
    const ended = once(child, 'close').then(([code]) => ({ code: code as number, stdout, stderr }));
    return { child, ended, printed };
  }
  const exec = (words: readonly string[], flags: readonly string[] = [], input = '') => {
    const { child, ended } = begin(words, flags);
    child.stdin.end(input);
    return ended;
  };

  test('it is what the root process is: namespaces, root, cgroup, user, filter, no capabilities, environment', async () => {
    await start({
      process: {
        ...testConfig({}).process,
        arguments: ['-c', 'exec sleep 1000'],
        user: { uid: 33, gid: 33, groups: [] },
      },
    });
    const { ended, printed, child } = begin(['/bin/sh', '-c', 'echo $GREETING; exec sleep 500']);
    await printed(/hello/);
    const root = client.state.process!.pid;
    const guest = cgroupProcesses(client.state.cgroup!).find((pid) => pid !== root && pid !== client.state.init?.pid)!;
    for (const name of ['mnt', 'uts', 'ipc', 'net', 'pid', 'cgroup', 'user', 'time'])
      assert.equal(readlinkSync(`/proc/${guest}/ns/${name}`), readlinkSync(`/proc/${root}/ns/${name}`), name);
    const status = (pid: number): string[] =>
      readFileSync(`/proc/${pid}/status`, 'latin1')
        .split('\n')
        .filter((line) => /^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp)/.test(line));
    assert.deepEqual(status(guest), status(root));
    assert.equal(readFileSync(`/proc/${guest}/limits`, 'latin1'), readFileSync(`/proc/${root}/limits`, 'latin1'));
    assert.deepEqual(readdirSync(`/proc/${guest}/fd`).toSorted(), ['0', '1', '2']);
    await assert.rejects(client.setMoving(true), {
      code: 'migration.refused',
      message: /a program in it that an operator/,
    });
    child.kill('SIGTERM');
    assert.equal((await ended).code, 128 + 15);
    await client.waitFor(({ guests }) => guests === 0);
    await client.setMoving(true);
    const refused = await exec(['/bin/ls']);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /is in a migration/);
  });

  test('streams and exit code are passed on; what cannot be executed is said', async () => {
    await start();
    assert.deepEqual(await exec(['cat'], [], 'one\ntwo\n'), { code: 0, stdout: 'one\ntwo\n', stderr: '' });
    assert.equal((await exec(['sh', '-c', 'echo x >&2; exit 41'])).code, 41);
    const missing = await exec(['/bin/absent']);
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /it is not in the sandbox[\s\S]*--with-host-tools/);
    assert.equal((await client.status()).guests, 0);
    const other = await exec(['ls'], ['--state', `${state.path}/absent`]);
    assert.match(other.stderr, /there is no sandbox '[a-z0-9-]+' in /);
  });

  test('who starts it is killed: so is the guest, and the sandbox can be moved again', async () => {
    await start();
    const { child, printed, ended } = begin(['sh', '-c', 'echo in; exec sleep 500']);
    await printed(/in/);
    assert.equal(client.state.guests, 1);
    child.kill('SIGKILL');
    await ended;
    await client.waitFor(({ guests }) => guests === 0);
    while (cgroupProcesses(client.state.cgroup!).length !== 2) await sleep(5);
  });

  test('a sandbox that ends takes its guests with it', async () => {
    await start();
    const { printed, ended } = begin(['sh', '-c', 'echo in; exec sleep 500']);
    await printed(/in/);
    await client.terminate({ graceMs: 0 });
    assert.equal((await ended).code, 128 + 9);
  });

  test('the machine’s programs for a look: read-only, nothing else of the machine, gone with the guest', async () => {
    await start({ writable: ['/tmp'] });
    const look =
      'echo mine > /tmp/left; ls /; ls /sandbox; stat -c %n /proc/1/stat; id -u; touch /usr/x; ls /etc /sandbox/tmp';
    const { code, stdout, stderr } = await exec(['sh', '-c', look], ['--with-host-tools']);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /Read-only file system/);
    const lines = stdout.split('\n');
    for (const one of ['usr', 'sandbox', 'proc', 'dev', 'tmp', 'left', '/proc/1/stat', '0', 'alternatives'])
      assert.ok(lines.includes(one), `${one} in ${stdout}`);
    assert.ok(!lines.includes('root') && !lines.includes('passwd') && !lines.includes('home'), stdout);
    const inside = await exec(['ls', '/', '/tmp']);
    assert.ok(
      !inside.stdout.split('\n').includes('usr') || !existsSync(`/proc/${client.state.process!.pid}/root/sandbox`),
    );
    assert.ok(inside.stdout.includes('left'));
    const root = client.state.process!.pid;
    assert.ok(!readFileSync(`/proc/${root}/mountinfo`, 'latin1').includes(' /sandbox '));
  });

  test('a terminal of its own: a session’s, with a size and a type', async () => {
    await start();
    const words = [
      'sh',
      '-c',
      'test -t 0 && test -t 1 && stty size && echo $TERM && echo ask && read x && echo "got $x"',
    ];
    const { child, ended, printed } = begin(words, ['--with-host-tools', '--terminal', '91x17:vt100']);
    await printed(/17 91\r\nvt100\r\nask/);
    child.stdin.write('answer\r');
    const { code, stdout } = await ended;
    assert.equal(code, 0);
    assert.match(stdout, /got answer\r\n$/);
    const interrupted = begin(['sh', '-c', 'echo on; exec sleep 500'], ['--terminal', '80x24']);
    await interrupted.printed(/on/);
    interrupted.child.stdin.write('\x03');
    assert.equal((await interrupted.ended).code, 128 + 2);
  });
});
