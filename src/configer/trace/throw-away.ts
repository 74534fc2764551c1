/**
 * A sandbox for one run: the machine's own files, with those of the configuration laid over them, in namespaces of its own
 * (mount, network, PID, IPC, UTS). What it writes goes into memory; with its first process everything is gone.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, constants, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { ComicranError } from '../../base/errors.ts';
import type { FullConfig } from '../../base/sandbox-config.ts';
import { isWithin } from '../../base/sandbox-tree.ts';
import { readMounts } from '../../linux/mountinfo.ts';
import { listChildren } from '../../linux/procfs.ts';

export type ThrowAway = {
  /** Its first process, which waits for `go`; as this program sees it. */
  readonly pid: number;
  readonly go: () => void;
  /** Ends everything in it. */
  readonly kill: () => void;
  /** Resolves when it has ended and nothing is left of it; never rejects. */
  readonly gone: Promise<void>;
};

/** Every sandbox has its own of these. */
const NOT_TAKEN_OVER = ['/proc', '/sys', '/dev', '/run'];
const READY = 'ready\n';
const START_TIMEOUT_MS = 20_000;

/**
 * What the first process does, step by step, until it starts the program and waits for its end. The program is process 2, as
 * in a sandbox: as process 1 it would not feel signals that it has no handler for. $1 is a directory of its own, $2 the placed files;
 * words follow as `address writable… -- mounts… -- directory, options of chroot… -- environment… -- program…`.
 */
const SCRIPT = `
set -e
base=$1 placed=$2 address=$3; shift 3
mount -t tmpfs -o mode=0755 comicran-trace "$base"
mkdir "$base/work" "$base/root"
cp -a "$placed" "$base/upper"
mount -t overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" comicran-trace "$base/root"
root=$base/root
while [ "$1" != -- ]; do mkdir -p "$root$1" && mount --bind -o ro "$1" "$root$1" 2>/dev/null || true; shift; done; shift
while [ "$1" != -- ]; do mkdir -p "$root$1" && mount -t tmpfs -o mode=1777 tmpfs "$root$1"; shift; done; shift
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
for device in null zero full random urandom; do : >"$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
ln -s /proc/self/fd "$root/dev/fd"
ip link set lo up
ip address add "$address/32" dev lo
ip route add default dev lo
printf 'ready\\n' >&3
exec 3>&-
read -r _
echo 1 >/proc/sys/kernel/ns_last_pid
set +e
"$@" </dev/null
exit $?
`;

/** @throws ComricanError sandbox.setup-failed with what the step said. */
export async function startThrowAway(config: FullConfig): Promise<ThrowAway> {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-trace-'));
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  let child: ChildProcess | undefined;
  try {
    const [base, placed] = [join(directory, 'base'), join(directory, 'placed')];
    mkdirSync(base);
    layOver(config, placed);
    const words = ['--mount', '--net', '--pid', '--fork', '--kill-child', '--ipc', '--uts', '--propagation', 'private'];
    child = spawn(
      'unshare',
      [...words, '--', '/bin/sh', '-c', SCRIPT, 'trace', base, placed, ...wordsOf(config, directory)],
      {
        stdio: ['pipe', 2, 'pipe', 'pipe'],
      },
    );
    const ended = once(child, 'exit');
    let said = '';
    child.stderr!.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-4096);
      process.stderr.write(chunk);
    });
    const started = child;
    const first = await Promise.race([
      once(child.stdio[3] as NodeJS.ReadableStream, 'data').then(([chunk]) => String(chunk)),
      ended.then(() => ''),
      setTimeout(START_TIMEOUT_MS, '', { ref: false }),
    ]);
    const [pid] = first !== READY || child.pid === undefined ? [] : listChildren(child.pid);
    if (pid === undefined) {
      throw new ComicranError(
        'sandbox.setup-failed',
        `the sandbox for the trace cannot be made: ${said.trim() || 'no answer'}`,
        {
          hint: 'It needs overlayfs and namespaces, and the programs mount, ip, chroot and env.',
        },
      );
    }
    return {
      pid,
      go: () => started.stdin!.end('\n'),
      kill: () => started.kill('SIGKILL'),
      gone: ended.then(remove, remove),
    };
  } catch (thrown) {
    if (child?.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    remove();
    throw thrown;
  }
}

function wordsOf(config: FullConfig, own: string): string[] {
  const { executable, arguments: words, environment, workingDirectory, user } = config.process;
  const root = join(own, 'base', 'root');
  const mounts = readMounts(process.pid)
    .map(({ mountPoint }) => mountPoint)
    .filter((path) => path !== '/' && !NOT_TAKEN_OVER.some((top) => isWithin(path, top)));
  const writable = new Set([...config.writable, ...(config.mounts ?? []).map(({ path }) => path)]);
  if (!config.files.some(({ path }) => isWithin(path, '/tmp'))) writable.add('/tmp');
  const identity =
    user === undefined
      ? []
      : [`--userspec=${user.uid}:${user.gid}`, `--groups=${[user.gid, ...user.groups].join(',')}`];
  return [
    config.network.address,
    ...new Set(mounts),
    '--',
    // The shorter first: one may lie in another.
    ...[...writable].toSorted(),
    '--',
    ...['chroot', ...identity, root, 'env', '-i', `--chdir=${workingDirectory}`],
    ...Object.entries(environment).map(([name, value]) => `${name}=${value}`),
    executable,
    ...words,
  ];
}

/** The files of the configuration that are not what the machine has at the same path. */
function layOver({ files, symlinks, directories }: FullConfig, placed: string): void {
  mkdirSync(placed, { mode: 0o755 });
  const modes = new Map(directories.map(({ path, mode }) => [path, mode]));
  const made = new Set(['/']);
  const parents = (path: string): void => {
    const parent = posix.dirname(path);
    if (made.has(parent)) return;
    parents(parent);
    mkdirSync(join(placed, parent), { mode: modes.get(parent) ?? 0o755 });
    made.add(parent);
  };
  for (const { path, source, mode } of files) {
    if (path === source) continue;
    parents(path);
    copyFileSync(source, join(placed, path), constants.COPYFILE_FICLONE);
    chmodSync(join(placed, path), mode);
  }
  for (const { path, target, why } of symlinks) {
    if (why?.startsWith('configuration: symlinks') !== true && why?.startsWith('nodeModules') !== true) continue;
    parents(path);
    symlinkSync(target, join(placed, path));
  }
  for (const { path } of directories)
    if (files.every((file) => file.path !== file.source || !isWithin(file.path, path))) {
      parents(`${path}/x`);
    }
}
