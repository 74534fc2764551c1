/**
 * Debian packages for tests, unpacked beside the project (node_modules/.cache) and not installed: nothing of the machine
 * changes, and no service is started.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isMap, isSeq, parseDocument } from 'yaml';
import { type FileTree, fileTree } from './file-tree.ts';

const CACHE = join(import.meta.dirname, '../../node_modules/.cache/comicran/debian');

/** Servers that tests run, with the libraries that Debian 12 does not have installed anyway: 3.8 MB to download. */
const SERVERS = [
  ...['nginx', 'redis-server', 'redis-tools', 'libjemalloc2', 'liblzf1', 'memcached'],
  ...['osmo-mgw', 'libosmocore19', 'libosmogsm18', 'libosmovty9', 'libosmoabis10', 'libosmoctrl0', 'libosmonetif8'],
  ...['libosmotrau2', 'libtalloc2', 'libsctp1', 'libortp16', 'libbctoolbox1', 'libdecaf0', 'libmbedcrypto7'],
  ...['libmbedtls14', 'libmbedx509-1'],
];

function download(directory: string): void {
  // apt fetches as root here: its own user may not be able to reach this directory.
  const words = ['-qq', '-o', 'APT::Sandbox::User=root', 'download', ...SERVERS];
  execFileSync('apt-get', words, { cwd: directory, stdio: 'pipe' });
}

/** @returns the directory with their `usr/` and `etc/`, or why it cannot be had. */
export function debianServers(): { readonly root: string } | { readonly problem: string } {
  const root = join(CACHE, 'servers');
  if (existsSync(root)) return { root };
  const partial = `${root}.${process.pid}`;
  try {
    mkdirSync(join(partial, 'packages'), { recursive: true });
    try {
      download(join(partial, 'packages'));
    } catch {
      // The lists of packages are not there, or older than what the mirror has.
      execFileSync('apt-get', ['-qq', 'update'], { stdio: 'pipe' });
      download(join(partial, 'packages'));
    }
    for (const name of readdirSync(join(partial, 'packages')))
      execFileSync('dpkg-deb', ['-x', join(partial, 'packages', name), join(partial, 'root')], { stdio: 'pipe' });
    renameSync(join(partial, 'root'), root);
    return { root };
  } catch (thrown) {
    const said = (thrown as { readonly stderr?: Buffer }).stderr?.toString().trim().split('\n').at(-1);
    return { problem: `needs Debian's packages ${SERVERS.slice(0, 3).join(', ')}, …: ${said ?? String(thrown)}` };
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

/** The example for a machine that has the packages unpacked in a directory instead of installed. */
export function unpackedExample(example: string, root: string): FileTree {
  const document = parseDocument(readFileSync(example, 'utf8'), { schema: 'failsafe' });
  const program = String(document.getIn(['process', 'executable']));
  document.setIn(['process', 'executable'], document.createNode({ source: join(root, program), path: program }));
  const files = document.get('files');
  const libraries = '/usr/lib/x86_64-linux-gnu';
  const more = document.createNode({ source: join(root, libraries), path: libraries });
  if (isSeq(files)) {
    for (const file of files.items)
      if (isMap(file)) file.set('source', join(dirname(example), String(file.get('source'))));
    files.add(more);
  } else document.set('files', document.createNode([more]));
  const tree = fileTree();
  writeFileSync(tree.at('base.yaml'), document.toString());
  return tree;
}
