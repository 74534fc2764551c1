/** `comicran configer trace`: what a program really uses, found by running it. Needs root, overlayfs, python3. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseBaseConfig } from '../../src/configer/base-config.ts';
import { type FileTree, fileTree } from '../support/file-tree.ts';
import { needs } from '../support/needs.ts';

const home = join(import.meta.dirname, '../..');
const skip = needs('root', 'unshare', 'nsenter', 'ip', '/usr/bin/python3');

function trace(tree: FileTree, ...words: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(
    join(home, 'bin/comicran'),
    ['configer', 'trace', tree.at('base.yaml'), ...words],
    { encoding: 'utf8', timeout: 60_000 },
  );
  return { status, stdout, stderr };
}

const left = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith('comicran-trace-'));

/** A program that loads and reads by names that are put together, in a child of its own, too. */
const SERVER = `import ctypes, os, subprocess, socket, sys
ctypes.CDLL("lib" + "anl.so.1")
open("/usr/share/" + "zoneinfo/Europe/Istanbul", "rb").read()
subprocess.run(["/bin/cat", "/etc/" + "debian_version"], stdout=subprocess.DEVNULL)
os.listdir("/var/spool"); os.stat("/srv/own"); open("/tmp/scratch", "w").close(); open("/var/new", "w").close()
print("to standard output", os.getpid(), sorted(os.environ))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.88.0.5", 7777))
while len(sys.argv) > 1: d, a = s.recvfrom(99); s.sendto(d, a)
`;
const BASE = `# stays as it is
id: traced
process: {executable: /usr/bin/python3, arguments: [/srv/server.py], environment: {MODE: 0755}}
network: {address: 10.88.0.5}
files:
  - {source: server.py, path: /srv/server.py}  # mine
  - {source: server.py, path: /srv/own}
`;

test('what is loaded and read by computed names is found; written back, nothing more is missing', { skip }, () => {
  using tree = fileTree({ 'base.yaml': BASE, 'server.py': SERVER });
  const before = left();
  const { status, stdout, stderr } = trace(tree, '--json');
  assert.equal(status, 0, stderr);
  const found = JSON.parse(stdout) as Record<'executables' | 'files' | 'directories' | 'notes', string[]>;
  assert.ok(found.executables.includes('/bin/cat'), stdout);
  assert.ok(
    found.executables.some((path) => path.endsWith('/libanl.so.1')),
    stdout,
  );
  assert.ok(found.files.includes('/usr/share/zoneinfo/Europe/Istanbul'));
  assert.ok(found.files.includes('/etc/debian_version'));
  assert.ok(found.directories.includes('/var/spool'));
  assert.deepEqual(found.notes, [
    "it writes to /var, which is not writable in the sandbox; 'writable: [/var]' would make it so",
  ]);
  assert.match(stderr, /to standard output 2 \['LC_CTYPE', 'MODE'\]/);
  assert.match(stderr, /traced until it ended: \d+ paths used, \d+ not in the sandbox/);
  const all = [...found.executables, ...found.files, ...found.directories];
  assert.deepEqual(
    all.filter((path) => /^\/(?:proc|dev|sys|tmp|srv)(?:\/|$)|__pycache__|ld\.so\.cache/.test(path)),
    [],
  );

  assert.equal(trace(tree, '--write').status, 0);
  const text = readFileSync(tree.at('base.yaml'), 'utf8');
  assert.match(text, /^# stays as it is\nid: traced\n/);
  assert.match(text, /environment: \{\s*MODE: 0755\s*\}/);
  assert.match(text, /server\.py\s*\}\s+# mine\n/);
  const base = parseBaseConfig(text, 'base.yaml');
  assert.ok(base.files.length > 3 && base.executables.length >= 2);
  assert.match(trace(tree).stderr, / 0 not in the sandbox/);
  assert.deepEqual(left(), before, 'nothing is left');
});

/** The default of a signal ends a child that sends it to itself, and then the program: not so in process 1 of a namespace. */
const SIGNALLED = `import os, signal, sys
if os.fork() == 0: os.execv("/bin/sh", ["sh", "-c", "kill -TERM $$; cat /etc/debian_version"])
print("child", os.wait()[1] & 127)
if os.fork() == 0:
    if os.fork() == 0: os._exit(0)
    os._exit(0)
os.wait()
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGTERM)
open("/etc/hostname").read()
`;

test('signals and exec are what they are in a sandbox, where the program is not process 1', { skip }, () => {
  using tree = fileTree({ 'base.yaml': BASE, 'server.py': SIGNALLED });
  const { status, stdout, stderr } = trace(tree, '--json');
  assert.equal(status, 0, stderr);
  assert.match(stderr, /child 15\n/);
  assert.match(stderr, /traced until it ended/);
  const found = JSON.parse(stdout) as Record<'executables' | 'files', string[]>;
  assert.ok(found.executables.includes('/bin/sh'), stdout);
  assert.ok(!found.files.includes('/etc/debian_version') && !found.files.includes('/etc/hostname'), stdout);
});

const ECHO = `id: echo
process: {executable: /usr/bin/socat, arguments: ["UDP4-LISTEN:7777,fork", "EXEC:/bin/cat"]}
network: {address: 10.88.0.5}
`;

test('a probe in the network of the sandbox ends the run; one that does not succeed is an error', {
  skip: skip === false ? needs('socat') : skip,
}, () => {
  using tree = fileTree({ 'base.yaml': ECHO });
  const good = trace(tree, '--time', '30', '--probe', 'echo hello | socat -t 1 - UDP4:10.88.0.5:7777 | grep hello');
  assert.equal(good.status, 0, good.stderr);
  assert.match(good.stderr, /traced until the probe succeeded/);
  assert.equal(good.stdout, 'executables:\n  - /bin/cat\n', 'what a child of a child executes');
  const bad = trace(tree, '--time', '1', '--probe', 'false');
  assert.equal(bad.status, 1);
  assert.match(bad.stderr, /^comicran: the probe did not succeed before the time was over\n {2}next: /m);
});

test('a program that cannot be started is an error, and nothing is left', { skip }, () => {
  const user = 'user: {uid: 65534, gid: 65534}, workingDirectory: /closed/inner';
  using tree = fileTree({
    'base.yaml': `${ECHO.replace('arguments:', `${user}, arguments:`)}directories: [{path: /closed, mode: 0700}]\n`,
  });
  const before = left();
  const { status, stderr } = trace(tree);
  assert.equal(status, 1);
  assert.match(stderr, /was not started for the trace/);
  assert.deepEqual(left(), before);
});
