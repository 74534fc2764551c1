/** `comicran jailor run` in the foreground. Needs root. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ControlClient, type SandboxState } from '../../src/jailor/index.ts';
import { readSandboxState } from '../../src/jailor/state-schema.ts';
import { readOffloads } from '../../src/linux/ethtool.ts';
import { inNetnsOf } from '../../src/linux/netns.ts';
import { receiveSteering } from '../../src/linux/receive-cpu.ts';
import { findLink, getLink, listNeighbours, listRoutes, RouteSocket } from '../../src/linux/rtnetlink/index.ts';
import {
  inVm,
  largeConfig,
  leavesNothing,
  needs,
  PROGRAM,
  runForeground,
  startForeground,
  testConfig,
  VM_ADDRESS,
} from './support.ts';

describe('jailor in the foreground', { skip: needs, timeout: 180_000 }, () => {
  const state = inVm();

  leavesNothing(state);

  const run = (script: string, change: Parameters<typeof testConfig>[0] = {}) =>
    runForeground(state.path, testConfig({ script, ...change }));
  const says = async (script: string, change: Parameters<typeof testConfig>[0] = {}): Promise<string> => {
    const done = await run(script, change);
    assert.equal(done.stderr, '');
    assert.equal(done.code, 0);
    return done.stdout.trimEnd();
  };

  test('the root process has its arguments, environment, directory and standard streams', async () => {
    const sandbox = startForeground(
      state.path,
      testConfig({
        script: 'cat; echo "$GREETING $PWD"; echo trouble >&2; env_is="$(export -p)"; echo "$env_is"',
        change: {},
      }),
    );
    sandbox.child.stdin.end('from outside\n');
    const done = await sandbox.finished;
    assert.match(done.stdout, /^from outside\nhello \/\n/);
    assert.equal(done.stderr, 'trouble\n');
    // Nothing of jailor's own environment.
    assert.deepEqual(done.stdout.match(/(?<=export )\w+/g)?.toSorted(), ['GREETING', 'PATH', 'PWD']);
  });

  test('it is alone: own hostname, processes, network, files', async () => {
    const own = (kind: string): string => readlinkSync(`/proc/self/ns/${kind}`);
    assert.equal(await says('hostname'), 'jailtest');
    assert.equal(await says('cat /proc/1/comm; ls -d /proc/[0-9]*'), 'sleep\n/proc/1\n/proc/2');
    const script =
      'for kind in net pid mnt uts ipc cgroup user time; do readlink /proc/self/ns/$kind; done; cat /proc/self/cgroup; cat /proc/net/dev';
    const [text, files] = [await says(script.replaceAll('readlink', 'ls -l')), await says('ls /')];
    for (const kind of ['net', 'pid', 'mnt', 'uts', 'ipc', 'cgroup', 'user', 'time']) {
      assert.ok(text.includes(`${kind}:[`) && !text.includes(own(kind)), `${kind} namespace of its own`);
    }
    assert.doesNotMatch(text, /comicran-/, 'its own cgroup is the root of its cgroup namespace');
    assert.match(text, /eth0:/);
    assert.equal(files, ['bin', 'dev', 'etc', 'lib', 'lib64', 'proc', 'tmp', 'usr'].join('\n'));
  });

  test('it has the usual limit of descriptors', async () => {
    assert.equal(await says('ulimit -n'), '1024');
  });

  test('it can have no io_uring', async () => {
    assert.match(await says('cat /proc/self/status'), /^Seccomp:\t2$/m);
  });

  test('it has standard streams and nothing else open', async () => {
    assert.equal(await says('ls /proc/$$/fd'), '0\n1\n2');
  });

  test('the root is read-only, what is declared writable is writable and empty', async () => {
    const script =
      'for at in / /usr/bin /dev /proc/sys/kernel /tmp /var/lib/app /dev/shm; do touch $at/x 2>/dev/null && echo $at; done; ls -A /tmp /var/lib/app';
    const change = { writable: ['/var/lib/app', '/dev/shm'] };
    assert.equal(await says(script, { change }), '/tmp\n/var/lib/app\n/dev/shm\n/tmp:\nx\n\n/var/lib/app:\nx');
  });

  test('devices are the few that programs need, and work', async () => {
    assert.equal(await says('ls /dev'), 'fd\nfull\nnull\nrandom\nstderr\nstdin\nstdout\nurandom\nzero');
    assert.equal(
      await says(
        'echo gone > /dev/null; (echo here > /dev/stdout) | cat; (echo x > /dev/full) 2>/dev/null || echo full',
      ),
      'here\nfull',
    );
  });

  test('links and directories are as configured', async () => {
    const change = {
      symlinks: [
        { path: '/etc/alias', target: '../bin/sh' },
        { path: '/outside', target: '/root' },
      ],
      directories: [{ path: '/srv/private', mode: 0o700 }],
      process: {
        ...testConfig({}).process,
        workingDirectory: '/srv/private',
        arguments: ['-c', '/etc/alias -c pwd; ls -ld /srv/private; ls /outside/'],
      },
    };
    const done = await run('', { change });
    assert.match(done.stdout, /^\/srv\/private\ndrwx------ /);
    assert.match(done.stderr, /\/outside/);
    assert.equal(done.code, 2);
  });

  test('its exit code and its signal are jailor’s exit code', async () => {
    assert.equal((await run('exit 0')).code, 0);
    assert.equal((await run('exit 42')).code, 42);
    assert.equal((await run('kill -TERM $$')).code, 128 + 15);
    assert.equal((await run('kill -KILL $$')).code, 128 + 9);
  });

  test('signals are passed on', async () => {
    const script =
      'for s in TERM INT HUP QUIT USR1 USR2 WINCH; do trap "echo got $s" $s; done; trap "exit 3" USR2; echo ready; while :; do sleep 0.05; done';
    const sandbox = startForeground(state.path, testConfig({ script }));
    await sandbox.printed(/ready/);
    for (const name of ['TERM', 'INT', 'HUP', 'QUIT', 'USR1', 'WINCH']) {
      sandbox.child.kill(`SIG${name}` as NodeJS.Signals);
      await sandbox.printed(new RegExp(`got ${name}\n`));
    }
    sandbox.child.kill('SIGUSR2');
    assert.equal((await sandbox.finished).code, 3);
  });

  test('what a terminal sends to a job reaches every process of it', async () => {
    // Without a trap the shell waits for its child first, and then dies by the signal itself. The child speaks, not the shell:
    // dash takes no notice of what comes to a child that has not executed its program yet (vfork), so that would sleep on.
    const script = "sh -c 'echo ready; exec sleep 1000'; echo survived";
    const waiting = startForeground(state.path, testConfig({ script }));
    await waiting.printed(/ready/);
    waiting.child.kill('SIGINT');
    const { code, stdout } = await waiting.finished;
    assert.deepEqual({ code, stdout }, { code: 128 + 2, stdout: 'ready\n' });
    const trapping = startForeground(
      state.path,
      testConfig({
        script:
          'trap "exit 7" INT; sh -c \'trap "echo child; exit" INT; echo ready; while :; do sleep 0.05; done\'; exit 1',
      }),
    );
    await trapping.printed(/ready/);
    trapping.child.kill('SIGINT');
    assert.deepEqual(await trapping.finished.then((done) => [done.code, done.stdout]), [7, 'ready\nchild\n']);
  });

  test('SIGTERM for jailor ends a process that does not care, and everything else in the sandbox', async () => {
    const sandbox = startForeground(state.path, testConfig({ script: 'sleep 1000 & sleep 1000 & echo ready; wait' }));
    await sandbox.printed(/ready/);
    sandbox.child.kill('SIGTERM');
    assert.equal((await sandbox.finished).code, 128 + 15);
  });

  test('what the root process leaves behind ends with it, and nobody waits for it', async () => {
    assert.equal(await says('(sleep 1000 >/dev/null 2>&1 &) ; echo done'), 'done');
  });

  test('orphans are reaped', async () => {
    const script =
      'for n in 1 2 3 4 5; do (sleep 0 & ) ; done; sleep 0.2; cat /proc/[0-9]*/stat | while read pid name state rest; do echo $state; done';
    assert.doesNotMatch(await says(script), /Z/);
  });

  test('datagrams go in and out, and the route is the sandbox’s', async () => {
    const address = '10.88.77.9';
    const outside = createSocket('udp4');
    outside.bind(0, VM_ADDRESS);
    await once(outside, 'listening');
    const script = `echo from inside | socat -t0 - UDP4-SENDTO:${VM_ADDRESS}:${outside.address().port}; exec socat UDP4-RECVFROM:7,fork PIPE`;
    const sandbox = startForeground(state.path, testConfig({ script, address }));
    const [first, peer] = await once(outside, 'message');
    assert.equal(String(first), 'from inside\n');
    assert.equal(peer.address, address);
    using socket = new RouteSocket();
    const route = listRoutes(socket).find(({ destination }) => destination === `${address}/32`);
    assert.match(findLink(socket, route?.link ?? 0)?.name ?? '', /^cr-[0-9a-f]{8}$/);
    // The listener needs a moment; what comes before it is answered by ICMP and lost.
    const retry = setInterval(() => outside.send('ping', 7, address), 20);
    const [echo] = await once(outside, 'message');
    clearInterval(retry);
    assert.equal(String(echo), 'ping');
    outside.close();
    sandbox.child.kill('SIGTERM');
    await sandbox.finished;
  });

  test('packets cross its link as they are, one by one and in order, and nobody is ever asked for an address', async () => {
    const address = '10.88.77.9';
    const sandbox = startForeground(state.path, testConfig({ script: 'echo ready; exec sleep 1000', address }));
    await sandbox.printed(/ready/);
    // Not just any child of jailor's: helpers come and go. The program may speak before its jailor has written that it runs.
    const ofRunning = async (): Promise<SandboxState> => {
      for (;;) {
        const found = readSandboxState(state.path, 'jailtest');
        if (found.phase === 'running') return found;
        await sleep(5);
      }
    };
    const { link, init } = await ofRunning();
    const pid = init!.pid;
    try {
      const look = (name: string, peer: string): readonly number[] => {
        using socket = new RouteSocket();
        const { index } = getLink(socket, name);
        assert.ok(
          Object.values(readOffloads(name)).every((on) => !on),
          name,
        );
        const { cpus, queues, followedFlows } = receiveSteering(name);
        assert.deepEqual([cpus.length, queues, followedFlows], [1, 1, 0], name);
        const neighbours = listNeighbours(socket).filter((entry) => entry.link === index);
        // Multicast groups of the machine itself are entries too.
        const known = neighbours.filter((entry) => !entry.address.startsWith('224.'));
        assert.deepEqual(
          known.map((entry) => [entry.address, entry.permanent]),
          [[peer, true]],
          name,
        );
        return cpus;
      };
      const outside = look(link, address);
      const inside = inNetnsOf({ pid }, () => {
        assert.deepEqual(receiveSteering('lo').cpus, receiveSteering('eth0').cpus, 'the two ways in keep their order');
        return look('eth0', '169.254.1.1');
      });
      assert.deepEqual(inside, outside);
    } finally {
      sandbox.child.kill('SIGTERM');
      await sandbox.finished;
    }
  });

  test('two sandboxes at once; an address or an id only once', async () => {
    const one = startForeground(state.path, testConfig({ id: 'one', script: 'echo ready; cat' }));
    await one.printed(/ready/);
    const two = startForeground(
      state.path,
      testConfig({ id: 'two', address: '10.88.77.6', script: 'echo ready; cat' }),
    );
    await two.printed(/ready/);
    const sameAddress = await runForeground(state.path, testConfig({ id: 'three' }));
    assert.equal(sameAddress.code, 1);
    assert.match(sameAddress.stderr, /the address 10\.88\.77\.5 is in use/);
    const sameId = await runForeground(state.path, testConfig({ id: 'one', address: '10.88.77.7' }));
    assert.equal(sameId.code, 1);
    assert.match(sameId.stderr, /the sandbox one is there already/);
    const vmAddress = await runForeground(state.path, testConfig({ id: 'four', address: VM_ADDRESS }));
    assert.match(vmAddress.stderr, /the address 192\.0\.2\.1 is in use: it is an address of this VM/);
    // In the foreground there is no control socket.
    await assert.rejects(ControlClient.connect(state.path, 'one'), {
      ...{ code: 'sandbox.not-running', message: "the sandbox 'one' runs in the foreground of its jailor" },
      hint: `It is ended there (Ctrl-C), or with 'kill ${one.child.pid}'.`,
    });
    for (const sandbox of [one, two]) {
      sandbox.child.stdin.end();
      assert.equal((await sandbox.finished).code, 0);
    }
  });

  test('a start that cannot be is one sentence, and leaves nothing', async () => {
    const { process: spec, files } = testConfig({});
    const missing = { ...files[0]!, path: '/x', source: '/absent', sha256: 'f'.repeat(64) };
    const fails = async (change: Parameters<typeof testConfig>[0]['change'], words: RegExp): Promise<void> => {
      const done = await run('true', { change: change! });
      assert.equal(done.code, 1);
      assert.match(done.stderr, words);
      assert.equal(done.stdout, '');
    };
    await fails({ files: [...files, missing] }, /the file \/absent cannot be read/);
    await fails({ files: [...files, { ...missing, source: files[0]!.source }] }, /has changed/);
    await fails({ process: { ...spec, workingDirectory: '/dev/absent' } }, /\/dev\/absent: ENOENT/);
    const script = join(state.path, 'script');
    writeFileSync(script, '#!/bin/absent\n');
    const { fileEntry } = await import('./support.ts');
    const entry = { ...fileEntry(script), path: '/script' };
    await fails(
      { files: [...files, entry], process: { ...spec, executable: '/script' } },
      /could not run \/script[\s\S]*interpreter/,
    );
    rmSync(script);
  });

  test('a root directory that the configuration names is filled and emptied again', async () => {
    const root = join(state.path, 'elsewhere');
    assert.match(await says('ls /', { change: { root } }), /^bin/);
    assert.ok(!readdirSync(state.path).includes('elsewhere'));
    mkdirSync(root);
    assert.match(await says('ls /', { change: { root } }), /^bin/);
    assert.deepEqual(readdirSync(root), []);
    writeFileSync(join(root, 'precious'), '');
    const refused = await run('ls /', { change: { root } });
    assert.match(refused.stderr, /the root directory .*elsewhere is not empty/);
    assert.deepEqual(readdirSync(root), ['precious']);
    rmSync(root, { recursive: true });
  });

  test('twenty starts leave nothing', async () => {
    for (let n = 0; n < 20; n++) {
      const { code, stderr } = await run('exit 0');
      assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    }
  });

  test('--dry-run prints the plan and does nothing', async () => {
    const text = await startForeground(state.path, testConfig({}), ['--dry-run']).finished;
    assert.equal(text.code, 0);
    assert.match(
      text.stdout,
      /^make the root directory .*\n[\s\S]*\nrun \/bin\/sh -c true \(user 0:0, no cap.*\nend the zygote/,
    );
    const json = await startForeground(state.path, testConfig({}), ['--dry-run', '--json']).finished;
    assert.equal(JSON.parse(json.stdout)[0].kind, 'make-root');
  });

  test('a configuration on standard input may be large, and come late and in pieces', async () => {
    const config = largeConfig(1 << 20);
    const child = spawn(PROGRAM, ['jailor', 'run', '-', '--dry-run', '--state', state.path], { stdio: 'pipe' });
    const output = Promise.all([text(child.stdout), text(child.stderr)]);
    const written = JSON.stringify(config);
    assert.ok(written.length >= 1 << 20);
    await sleep(300);
    child.stdin.write(written.slice(0, written.length >> 1));
    await sleep(100);
    child.stdin.end(written.slice(written.length >> 1));
    const [stdout, stderr] = await output;
    assert.equal(stderr, '');
    assert.match(stdout, /\nrun \/bin\/sh -c true \(user 0:0, no cap.*\nend the zygote/);
  });

  test('a configuration on standard input that is none is called by that name', async () => {
    const child = spawn(PROGRAM, ['jailor', 'run', '-', '--dry-run'], { stdio: 'pipe' });
    child.stdin.end('{');
    assert.match(await text(child.stderr), /^comicran: the configuration on standard input is not a full config/);
  });
});
