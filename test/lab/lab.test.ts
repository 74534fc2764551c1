/**
 * The lab: up, heal, down, also after everything was killed. Needs root and network namespaces. The daemons are stand-ins;
 * the names are not those of a real lab, so that one may run beside this test.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ComicranError } from '../../src/base/errors.ts';
import { readSandboxState } from '../../src/jailor/state-schema.ts';
import { labDown, labUp } from '../../src/lab/lab.ts';
import { type LabLayout, labLayout } from '../../src/lab/layout.ts';
import { processesInNamespaces } from '../../src/lab/processes.ts';
import { readRecord } from '../../src/lab/record.ts';
import { type LabStatus, labStatus, renderStatus } from '../../src/lab/status.ts';
import { inNetnsOf } from '../../src/linux/netns.ts';
import { isAlive, type ProcessIdentity } from '../../src/linux/process-identity.ts';
import { startForeground, testConfig } from '../jailor/support.ts';
import { leftBehind, takeInventory } from '../support/inventory.ts';

const PREFIX = 'crt';
const COMICRAN = join(import.meta.dirname, '../../bin/comicran');

const needs = process.getuid?.() === 0 ? false : 'needs root';
if (needs !== false && process.env['MUST_RUN'] === '1') throw new Error(`lab: ${needs}`);
const options = { skip: needs };

type Lab = { readonly layout: LabLayout; readonly said: string[]; up(): Promise<void>; down(): Promise<boolean> };

/** A lab of its own for a test, which takes it down at the end and asserts that nothing is left. */
function makeLab(t: TestContext): Lab {
  const home = mkdtempSync(join(tmpdir(), 'comicran-lab-test-'));
  const layout = labLayout({
    prefix: PREFIX,
    directory: join(home, 'state', 'lab'),
    runDirectory: join(home, 'run'),
    comicran: [process.execPath, join(import.meta.dirname, 'fake-daemon.ts')],
  });
  // What bears this test's names: on a machine that others use, too, nothing else can be told from theirs.
  const own = (items: readonly string[], ...marks: string[]): string[] =>
    items.filter((item) => marks.some((mark) => item.includes(mark)));
  const inventory = () => {
    const { mounts, processes, files } = takeInventory([home]);
    return {
      'network namespaces': existsSync('/run/netns') ? own(readdirSync('/run/netns'), PREFIX) : [],
      links: own(spawnSync('ip', ['-o', 'link'], { encoding: 'utf8' }).stdout.split('\n'), PREFIX),
      mounts: own(mounts!, home, `/run/netns/${PREFIX}`),
      processes: own(processes!, home),
      daemons: daemons(),
      files: files!,
    };
  };
  const before = inventory();
  const said: string[] = [];
  const say = (text: string): void => void said.push(text);
  const lab = { layout, said, up: () => labUp(layout, say), down: () => labDown(layout, say) };
  t.after(async () => {
    try {
      await lab.down();
      assert.deepEqual(leftBehind(before, inventory()), []);
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  });
  return lab;
}

function daemons(): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('lab/fake-daemon.ts');
    } catch {
      return false;
    }
  });
}

const identities = ({ layout }: Lab): Record<string, ProcessIdentity> => ({ ...readRecord(layout)?.daemons });
const states = (status: LabStatus): (string | undefined)[] => status.nodes.map(({ daemon }) => daemon?.state);

function inNode(lab: Lab, node: string, command: string, ...args: string[]): string {
  const { netns } = lab.layout.nodes.find(({ name }) => name === node)!;
  const done = inNetnsOf({ name: netns }, () => spawnSync(command, args, { encoding: 'utf8' }));
  assert.equal(done.status, 0, `${command} ${args.join(' ')}: ${done.stderr}`);
  return done.stdout;
}

async function killAll(processes: readonly ProcessIdentity[]): Promise<void> {
  for (const { pid } of processes) process.kill(pid, 'SIGKILL');
  while (processes.some(isAlive)) await new Promise((resolve) => setTimeout(resolve, 10));
}

test(
  'up makes four nodes that reach each other over the SDN node, with a daemon in three of them',
  options,
  async (t) => {
    const lab = makeLab(t);
    await lab.up();
    const status = await labStatus(lab.layout);
    assert.ok(status.up, renderStatus(status));
    assert.deepEqual(states(status), [undefined, 'running', 'running', 'running']);
    // Every pair of nodes, by every address: a refusal comes from the other end.
    for (const { netns } of lab.layout.nodes) {
      for (const address of lab.layout.nodes.flatMap(({ addresses }) => addresses)) {
        const script = `exec 3<>/dev/tcp/${address}/9`;
        const done = inNetnsOf({ name: netns }, () =>
          spawnSync('bash', ['-c', script], { encoding: 'utf8', timeout: 5000 }),
        );
        assert.match(done.stderr, /Connection refused/, `${netns} to ${address}`);
      }
    }
    const route = inNode(lab, 'vm1', 'ip', 'route', 'get', '10.70.0.2');
    assert.match(route, /via 10\.71\.1\.1 dev eth0 src 10\.71\.1\.2/);
    for (const [node, forwards] of [
      ['ue', '0'],
      ['sdn', '1'],
      ['vm1', '1'],
      ['vm2', '1'],
    ] as const) {
      const settings = ['ipv4/ip_forward', 'ipv4/conf/all/rp_filter', 'ipv4/conf/default/rp_filter'];
      const found = inNode(lab, node, 'cat', ...settings.map((key) => `/proc/sys/net/${key}`));
      assert.equal(found, `${forwards}\n0\n0\n`, node);
      assert.equal(inNode(lab, node, 'ip', '-6', 'addr'), '', `${node} has no IPv6 address`);
    }
  },
);

test('up again changes nothing that runs, and starts what has ended', options, async (t) => {
  const lab = makeLab(t);
  await lab.up();
  const first = identities(lab);
  const shell = inNetnsOf({ name: `${PREFIX}-ue` }, () => spawn('sleep', ['1000'], { stdio: 'ignore' }));
  const certificate = readFileSync(join(lab.layout.pki, 'vm1.pem'), 'utf8');
  await lab.up();
  assert.deepEqual(identities(lab), first);

  await killAll([first['vm2']!]);
  assert.deepEqual(states(await labStatus(lab.layout)), [undefined, 'running', 'running', 'ended']);
  lab.said.length = 0;
  await lab.up();
  const healed = identities(lab);
  assert.deepEqual([healed['sdn'], healed['vm1']], [first['sdn'], first['vm1']]);
  assert.notDeepEqual(healed['vm2'], first['vm2']);
  assert.deepEqual(lab.said, ['starting again the sdaemon of vm2\n']);
  assert.ok((await labStatus(lab.layout)).up);
  assert.equal(readFileSync(join(lab.layout.pki, 'vm1.pem'), 'utf8'), certificate);
  assert.equal(shell.exitCode, null, 'what else runs in a node goes on');
});

test('a daemon that was started and not recorded does not stand in the way', options, async (t) => {
  const lab = makeLab(t);
  await lab.up();
  const record = JSON.parse(readFileSync(lab.layout.recordFile, 'utf8'));
  const unrecorded = record.daemons.vm1 as ProcessIdentity;
  delete record.daemons.vm1;
  writeFileSync(lab.layout.recordFile, JSON.stringify(record));
  await lab.up();
  assert.ok(!isAlive(unrecorded));
  assert.ok((await labStatus(lab.layout)).up);
});

test('a network that is not whole is built again, with everything in it', options, async (t) => {
  const lab = makeLab(t);
  await lab.up();
  for (const damage of [
    ['ip', 'netns', 'del', `${PREFIX}-ue`],
    ['ip', '-n', `${PREFIX}-vm1`, 'link', 'del', 'eth0'],
    ['ip', '-n', `${PREFIX}-vm2`, 'addr', 'flush', 'dev', 'eth0'],
    ['umount', `/run/netns/${PREFIX}-sdn`],
    ['rm', lab.layout.recordFile],
  ] as const) {
    const before = Object.values(identities(lab));
    const done = spawnSync(damage[0], damage.slice(1), { encoding: 'utf8' });
    assert.equal(done.status, 0, done.stderr);
    const broken = await labStatus(lab.layout);
    assert.ok(!broken.up);
    assert.match(renderStatus(broken), /the lab is not whole/);
    await lab.up();
    assert.ok((await labStatus(lab.layout)).up, damage.join(' '));
    assert.deepEqual(before.filter(isAlive), [], damage.join(' '));
  }
});

test(
  'a daemon that does not start is an error with the end of its log, and up goes on from there',
  options,
  async (t) => {
    const lab = makeLab(t);
    const refuse = join(lab.layout.directory, 'vm1.refuse');
    mkdirSync(lab.layout.directory, { recursive: true });
    writeFileSync(refuse, '');
    // The directory alone is what a crash may have left: up begins by taking it away.
    await lab.up();
    assert.ok(!existsSync(refuse));
    await killAll([identities(lab)['vm1']!]);
    writeFileSync(refuse, '');
    await assert.rejects(lab.up(), (thrown) => {
      assert.ok(thrown instanceof ComicranError && thrown.code === 'lab.state');
      assert.equal(thrown.message, 'the sdaemon of vm1 did not start: it ended');
      assert.match(thrown.hint!, /log\/vm1\.log:\n[\s\S]*fake daemon: no, thank you$/);
      return true;
    });
    rmSync(refuse);
    await lab.up();
    assert.ok((await labStatus(lab.layout)).up);
  },
);

test(
  'down leaves nothing, after every daemon was killed, with programs in the nodes, and twice',
  options,
  async (t) => {
    const lab = makeLab(t);
    assert.equal(await lab.down(), false, 'without a lab there is nothing to do');
    await lab.up();
    await killAll(Object.values(identities(lab)));
    // One that does not listen to SIGTERM, and one that is stopped.
    const deaf = inNetnsOf({ name: `${PREFIX}-vm1` }, () =>
      spawn('bash', ['-c', 'trap "" TERM; echo ready; while :; do sleep 1000; done'], {
        stdio: ['ignore', 'pipe', 'ignore'],
      }),
    );
    await once(deaf.stdout, 'data');
    const stopped = inNetnsOf({ name: `${PREFIX}-sdn` }, () => spawn('sleep', ['1000'], { stdio: 'ignore' }));
    process.kill(stopped.pid!, 'SIGSTOP');
    const ends = Promise.all([once(deaf, 'exit'), once(stopped, 'exit')]);
    assert.equal(await lab.down(), true);
    assert.ok(!existsSync(lab.layout.directory) && !existsSync(lab.layout.recordFile));
    const [deafEnd, stoppedEnd] = await ends;
    assert.deepEqual(deafEnd, [null, 'SIGKILL']);
    // SIGTERM waited for it to go on, and may be what it is found to have died of.
    assert.ok(['SIGTERM', 'SIGKILL'].includes(stoppedEnd[1]));
    assert.equal(await lab.down(), false);
  },
);

test('down takes sandboxes away, whether their jailor lives or was killed', options, async (t) => {
  const lab = makeLab(t);
  await lab.up();
  const [state] = lab.layout.sandboxStates;
  mkdirSync(state!, { recursive: true });
  const script = 'echo runs; while :; do sleep 1000; done';
  const sandboxes = ['one', 'two', 'three'].map((id, index) => {
    const config = testConfig({ id, address: `10.88.78.${index + 1}`, script });
    return { id, ...inNetnsOf({ name: `${PREFIX}-vm1` }, () => startForeground(state!, config)) };
  });
  await Promise.all(sandboxes.map(({ printed }) => printed(/runs/)));
  while (!sandboxes.every(({ id }) => readSandboxState(state!, id).phase === 'running')) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const inside = sandboxes.map(({ id }) => {
    const { init, process, cgroup } = readSandboxState(state!, id);
    return { init: init!, process: process!, cgroups: cgroup!.paths };
  });
  // One jailor ends in order, one has been killed, and one is stopped and cannot do anything.
  sandboxes[1]!.child.kill('SIGKILL');
  await sandboxes[1]!.finished;
  sandboxes[2]!.child.kill('SIGSTOP');
  assert.ok(await lab.down());
  for (const { init, process, cgroups } of inside) {
    assert.deepEqual([isAlive(init), isAlive(process), cgroups.filter((path) => existsSync(path))], [false, false, []]);
  }
});

test('an up that was killed anywhere is no obstacle to down, nor to up', options, async (t) => {
  const lab = makeLab(t);
  const script = `
    import { labUp } from ${JSON.stringify(join(import.meta.dirname, '../../src/lab/lab.ts'))};
    await labUp(${JSON.stringify(lab.layout)}, () => {});`;
  // From "has hardly begun" to "is done": wherever the blow falls on this machine.
  for (const afterMs of [150, 250, 350, 450, 600, 900]) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' });
    const ended = once(child, 'exit');
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    child.kill('SIGKILL');
    await ended;
    if (afterMs % 100 === 50) {
      await lab.up();
      assert.ok((await labStatus(lab.layout)).up);
    }
    await lab.down();
    assert.deepEqual(daemons(), []);
    assert.deepEqual(processesInNamespaces(lab.layout.nodes.map(({ netns }) => netns)), []);
    assert.ok(!existsSync(lab.layout.directory));
  }
});

test("two at once do not get into each other's way", options, async (t) => {
  const lab = makeLab(t);
  await Promise.all([lab.up(), lab.up()]);
  assert.ok((await labStatus(lab.layout)).up);
  await Promise.all([lab.up(), lab.down()]);
});

test('exec becomes the command: network of the node, exit code and signals of its own', options, async (t) => {
  const lab = makeLab(t);
  await lab.up();
  const script = `
    import { execInNode } from ${JSON.stringify(join(import.meta.dirname, '../../src/lab/exec.ts'))};
    execInNode(${JSON.stringify(lab.layout)}, process.argv[1], process.argv.slice(2));`;
  const run = (...words: string[]) =>
    spawnSync(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script, ...words],
      {
        encoding: 'utf8',
      },
    );
  const address = run('vm2', 'ip', '-4', '-o', 'addr', 'show', 'eth0');
  assert.match(address.stdout, /inet 10\.71\.2\.2\/24/);
  assert.equal(address.stderr, '');
  assert.equal(run('ue', 'sh', '-c', 'exit 7').status, 7);
  assert.equal(run('ue', 'sh', '-c', 'kill -9 $$').signal, 'SIGKILL');
  assert.equal(run('ue', 'no-such-program').status, 127);
  assert.match(run('ue', 'comicran', '--help').stdout, /Usage: comicran/);
  assert.match(run('vm3', 'true').stderr, /the lab has no node 'vm3'/);
  await lab.down();
  assert.match(run('ue', 'true').stderr, /the lab is not up/);
});

test('the verb says what it does not know', options, () => {
  const run = (...words: string[]) => spawnSync(COMICRAN, ['lab', ...words], { encoding: 'utf8' });
  assert.match(
    run('exec', 'vm3', '--', 'true').stderr,
    /^comicran: the lab has no node 'vm3'\n {2}next: Its nodes are: ue, sdn, vm1, vm2\.\n$/,
  );
  assert.equal(run('sideways').status, 1);
});
