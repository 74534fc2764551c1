/**
 * The root file system of the lab's virtual machines, resolved by configer: Node, this package, the programs that sdaemon
 * calls, and what all of them need. Files keep the paths that they have on this machine, so that what is configured here
 * for a sandbox can be started there.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ComicranError } from '../base/errors.ts';
import type { FullConfig } from '../base/sandbox-config.ts';
import { parseBaseConfig } from '../configer/base-config.ts';
import { hostLoaderFacts } from '../configer/loader-facts.ts';
import { resolveConfig } from '../configer/resolve.ts';
import type { Packages } from './debian-packages.ts';
import { dependenciesOf, loadingOrder, moduleName } from './kernel-modules.ts';
import { moduleFiles } from './module-files.ts';

/** Where this package is. */
export const HOME = join(import.meta.dirname, '../..');

/** What the daemon and its jailors start, and what is good to have at a console. */
const HELPERS = ['/bin/sh', '/usr/bin/readlink', '/usr/bin/sleep', '/usr/bin/setpriv', '/usr/bin/unshare'];
const TOOLS = ['/usr/sbin/ip', '/usr/sbin/tc', '/usr/sbin/nft'];
/** Loaded by name (linux/nftables.ts). */
const LIBRARIES = ['/usr/lib/x86_64-linux-gnu/libnftables.so.1'];

/** The hardware that QEMU shows, and what its power button takes. */
const HARDWARE = ['virtio_pci', 'virtio_net', 'virtio_blk', 'virtio_rng', 'evdev', 'button'];

const PACKAGING = join(HOME, 'packaging');
const OWN = '/usr/lib/comicran';

/** What can be a machine's service: each has a unit, and in the machine a script of its name. */
export const PROGRAMS = ['sdaemon', 'sdn'] as const;
export type Program = (typeof PROGRAMS)[number];
/** What a machine runs: a link to one of those scripts. */
export const SERVICE = `${OWN}/service`;

/** The modules that a list of modules-load.d(5) names. */
export function modulesOfList(text: string): string[] {
  return text.split('\n').filter((line) => line !== '' && !/^[#;]/.test(line));
}

/** The command of a unit of systemd.service(5), with its variables as a shell has them. */
export function commandOfUnit(text: string): string {
  const command = /^ExecStart=(.+)$/m.exec(text)?.[1];
  if (command === undefined) throw new ComicranError('lab.state', 'the unit has no ExecStart');
  return command;
}

/** The modules in the order in which they are loaded, with their files. */
function modulesToLoad({ modules }: Packages): { name: string; source: string }[] {
  const files = moduleFiles(modules);
  const listed = modulesOfList(readFileSync(join(PACKAGING, 'modules-load.d/comicran.conf'), 'utf8'));
  const needsOf = (name: string): string[] | undefined => {
    const file = files.get(name);
    return file === undefined ? undefined : dependenciesOf(readFileSync(file));
  };
  return loadingOrder([...HARDWARE, ...listed].map(moduleName), needsOf).map((name) => ({
    name,
    source: files.get(name)!,
  }));
}

/**
 * Arguments of a Node that loads all that a machine's does: the program, and the bundle that starts sandboxes (scripts/bundle.ts),
 * which loads packages by other files than the program does. @param dist directory of what has been built
 */
export function nodeWords(dist: string): string[] {
  const bundle = join(dist, 'cli/jailor-run.cjs');
  return [...(existsSync(bundle) ? ['--require', bundle] : []), join(dist, 'cli/main.js')];
}

type Placed = { readonly source: string; readonly path: string };

function baseConfig(packages: Packages, modules: readonly Placed[]): object {
  const { execPath } = process;
  const share = join(HOME, 'share/vm');
  return {
    id: 'vm',
    process: {
      executable: execPath,
      arguments: nodeWords(join(HOME, 'dist')),
    },
    network: { address: '10.71.0.1' }, // of no meaning here: a base configuration has one
    executables: [
      { source: packages.busybox, path: `${OWN}/busybox` },
      { source: join(share, 'init'), path: '/init' },
      ...['boot', 'tell-when-ready'].map((name) => ({ source: join(share, name), path: `${OWN}/${name}` })),
      join(HOME, 'bin/comicran'),
      ...[...HELPERS, ...TOOLS, ...LIBRARIES],
    ],
    files: [
      ...['bin', 'dist', 'share', 'package.json'].map((name) => join(HOME, name)),
      { source: join(share, 'inittab'), path: '/etc/inittab' },
      { source: join(share, 'acpi'), path: '/etc/acpi' },
      { source: join(PACKAGING, 'sysctl.d/60-comicran.conf'), path: '/etc/sysctl.d/60-comicran.conf' },
      ...modules,
    ],
    directories: ['/root', '/tmp', '/var/lib'],
    symlinks: [{ path: '/usr/local/bin/comicran', target: join(HOME, 'bin/comicran') }],
  };
}

export type GuestRoot = {
  readonly files: FullConfig;
  /** What configer cannot name a file of this machine for, by path: text, and permission bits. */
  readonly texts: readonly { readonly path: string; readonly mode: number; readonly text: string }[];
};

/** @throws ComricanError what configer finds missing; lab.state where the package has not been built. */
export async function guestRoot(packages: Packages): Promise<GuestRoot> {
  if (!existsSync(join(HOME, 'dist/cli/main.js')))
    throw new ComicranError('lab.state', `${HOME}/dist is missing: virtual machines run what has been built`, {
      hint: "Call 'npm run build'.",
    });
  const modules = modulesToLoad(packages).map(({ name, source }) => ({ source, path: `/lib/modules/${name}.ko` }));
  const base = parseBaseConfig(JSON.stringify(baseConfig(packages, modules)), "the virtual machines' configuration");
  const files = await resolveConfig(base, {
    directory: HOME,
    facts: hostLoaderFacts(),
    share: join(HOME, 'share'),
  });
  const commandOf = (program: Program): string =>
    commandOfUnit(readFileSync(join(PACKAGING, `systemd/comicran-${program}.service`), 'utf8'));
  return {
    files,
    texts: [
      { path: '/etc/comicran/modules', mode: 0o644, text: modules.map(({ path }) => `${path}\n`).join('') },
      ...PROGRAMS.map((program) => ({
        ...{ path: `${OWN}/${program}`, mode: 0o755, text: serviceScript(program, commandOf(program)) },
      })),
    ],
  };
}

/** What systemd would do for the unit. */
function serviceScript(program: Program, command: string): string {
  return (
    `#!${OWN}/busybox sh\n` +
    'export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n' +
    `set -a\n. /etc/comicran/${program}.env\nset +a\nexec ${command}\n`
  );
}
