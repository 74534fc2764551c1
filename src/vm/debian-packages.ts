/**
 * What a virtual machine has that this machine has not: a kernel, and a program for the first minutes. Debian's packages
 * are fetched and unpacked in a directory of their own and not installed: nothing of the machine changes.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ComicranError } from '../base/errors.ts';

/** A name for whichever kernel of this kind is the newest. */
const KERNEL = 'linux-image-cloud-amd64';
const BUSYBOX = 'busybox-static';

export type Packages = {
  /** The kernel that a boot loader starts. */
  readonly kernel: string;
  /** `6.1.0-56-cloud-amd64` */
  readonly release: string;
  /** Its modules, below it. */
  readonly modules: string;
  readonly busybox: string;
};

const run = promisify(execFile);

/** What a package of that kind really is. */
async function kernelPackage(): Promise<string> {
  const { stdout } = await run('apt-cache', ['depends', '--no-suggests', '--no-recommends', KERNEL]);
  const name = /Depends: (linux-image-\S+)/.exec(stdout)?.[1];
  if (name === undefined) throw new Error(`apt-cache knows no package ${KERNEL}`);
  return name;
}

async function download(directory: string): Promise<void> {
  // apt fetches as root here: its own user may not be able to reach this directory.
  const words = ['-qq', '-o', 'APT::Sandbox::User=root', 'download', await kernelPackage(), BUSYBOX];
  await run('apt-get', words, { cwd: directory });
}

async function fetchInto(root: string): Promise<void> {
  const partial = `${root}.${process.pid}`;
  try {
    const packages = join(partial, 'packages');
    mkdirSync(packages, { recursive: true });
    try {
      await download(packages);
    } catch {
      // The lists of packages are not there, or older than what the mirror has.
      await run('apt-get', ['-qq', 'update']);
      await download(packages);
    }
    for (const name of readdirSync(packages))
      await run('dpkg-deb', ['-x', join(packages, name), join(partial, 'root')]);
    renameSync(join(partial, 'root'), root);
  } catch (cause) {
    if (existsSync(root)) return; // somebody else was faster
    throw new ComicranError('needs.tool', `Debian's packages ${KERNEL} and ${BUSYBOX} cannot be had`, {
      cause,
      hint: 'Virtual machines need a Debian with access to its packages; network namespaces (lab up) do not.',
    });
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

/** @param cache where they stay for the next time: `<cache>/debian`. @throws ComicranError needs.tool */
export async function debianPackages(cache: string, say: (text: string) => void): Promise<Packages> {
  const root = join(cache, 'debian');
  if (!existsSync(root)) {
    say(`fetching Debian's ${KERNEL} and ${BUSYBOX}\n`);
    await fetchInto(root);
  }
  const [release] = readdirSync(join(root, 'lib/modules'));
  if (release === undefined)
    throw new ComicranError('needs.tool', `there is no kernel in ${root}`, { hint: 'Remove the directory.' });
  return {
    kernel: join(root, 'boot', `vmlinuz-${release}`),
    release,
    modules: join(root, 'lib/modules', release),
    busybox: join(root, 'bin/busybox'),
  };
}
