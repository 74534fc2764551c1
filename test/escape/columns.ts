/** The probe (probe.pl) in a sandbox of jailor and in what others make with their defaults, and what came of each attempt. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { FullConfig } from '../../src/base/sandbox-config.ts';
import { fileEntry, PROGRAM, testConfig } from '../jailor/support.ts';

export type Attempt = { readonly name: string; readonly done: boolean; readonly how: string };
export type Column = { readonly name: string; readonly attempts: readonly Attempt[] };

const PERL = '/usr/bin/perl';
const PROBE = join(import.meta.dirname, 'probe.pl');
/** crun refuses machines with both versions of control groups: it does not see the second one. */
const ONE_VERSION = 'umount /sys/fs/cgroup/unified 2>/dev/null';
const TIMEOUT_MS = 60_000;

function perlFiles() {
  const text = execFileSync('ldd', [PERL], { encoding: 'utf8' });
  const libraries = [...text.matchAll(/(\/[^ ]+) \(0x/g)].map((match) => match[1]!);
  return [...[PERL, ...libraries].map((path) => fileEntry(path)), { ...fileEntry(PROBE, 0o644), path: '/probe.pl' }];
}

function read(text: string): Attempt[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [name = '', result, how = ''] = line.split('\t');
      return { name, done: result === 'done', how };
    });
}

/** A process of the machine that nobody in a sandbox is to reach. */
function withVictim<T>(use: (pid: number) => T): T {
  const victim = spawn('sleep', ['infinity'], { stdio: 'ignore' });
  try {
    return use(victim.pid!);
  } finally {
    victim.kill('SIGKILL');
  }
}

function run(name: string, command: string, words: readonly string[], cwd = '/'): Column {
  const done = spawnSync(command, words, { cwd, encoding: 'utf8', timeout: TIMEOUT_MS });
  if (!/^\S.*\t(refused|done)\t/m.test(done.stdout)) throw new Error(`${name}: ${done.stderr}${done.error ?? ''}`);
  return { name, attempts: read(done.stdout) };
}

/** @param directory an empty one, for state and root directories. */
export function jailorColumn(directory: string): Column {
  return withVictim((pid) => {
    const config: FullConfig = testConfig({
      id: 'jailtest',
      change: {
        process: { executable: PERL, arguments: ['/probe.pl', String(pid)], environment: {}, workingDirectory: '/' },
        files: perlFiles(),
        symlinks: [],
      },
    });
    const file = join(directory, 'escape.json');
    writeFileSync(file, JSON.stringify(config));
    return run('jailor', PROGRAM, ['jailor', 'run', file, '--state', directory]);
  });
}

/** Those that are installed, each with its defaults. */
export function otherColumns(directory: string): Column[] {
  const root = join(directory, 'rootfs');
  for (const { path, source, mode } of perlFiles()) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    copyFileSync(source, join(root, path));
    chmodSync(join(root, path), mode);
  }
  for (const path of ['proc', 'dev', 'sys', 'tmp']) mkdirSync(join(root, path), { recursive: true });
  const isThere = (program: string): boolean => spawnSync('which', [program]).status === 0;
  return withVictim((pid) => {
    const columns: Column[] = [];
    const probe = [PERL, '/probe.pl', String(pid)];
    if (isThere('bwrap')) {
      const words = ['--unshare-all', '--ro-bind', root, '/', '--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp'];
      columns.push(run('bwrap', 'bwrap', [...words, ...probe]));
    }
    for (const runtime of ['runc', 'crun'].filter(isThere)) {
      const configFile = join(directory, 'config.json');
      if (!existsSync(configFile)) {
        execFileSync(runtime, ['spec'], { cwd: directory });
        const config = JSON.parse(readFileSync(configFile, 'utf8'));
        config.process.terminal = false;
        config.process.args = probe;
        config.root.path = root;
        writeFileSync(configFile, JSON.stringify(config));
      }
      columns.push(
        run(
          runtime,
          'unshare',
          ['--mount', 'sh', '-c', `${ONE_VERSION}; exec "$@"`, 'sh', runtime, 'run', `escape-${process.pid}`],
          directory,
        ),
      );
    }
    return columns;
  });
}
