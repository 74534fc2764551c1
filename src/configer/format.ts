/** A full configuration as text: the same configuration gives the same bytes. */
import type { FullConfig } from '../base/sandbox-config.ts';

export function formatJson(config: FullConfig): string {
  return `${JSON.stringify(written(config), null, 2)}\n`;
}

/** @param origin what it was made from, for the first line. */
export async function formatYaml(config: FullConfig, origin: string): Promise<string> {
  const { Document, isMap, visit } = await import('yaml');
  const document = new Document(written(config), { aliasDuplicateObjects: false });
  document.commentBefore = ` Written by comicran configer from ${origin}. Run it again instead of editing this file.`;
  // One line for a link, a directory or a port; a file takes too much room for that.
  visit(document, {
    Map(_key, node, path) {
      if (path.length > 3 && !node.has('sha256') && !path.some((parent) => isMap(parent) && parent.flow))
        node.flow = true;
    },
  });
  return document.toString({ lineWidth: 0, flowCollectionPadding: false });
}

type Written = Omit<FullConfig, 'files' | 'directories'> & {
  readonly files: readonly unknown[];
  readonly directories: readonly unknown[];
};

/** Keys in one order, modes as people read them. */
function written(config: FullConfig): Written {
  const { version, id, root, process, network, files, symlinks, directories, writable, mounts, limits, security } =
    config;
  const { restart, logs, health } = config;
  return {
    version,
    id,
    ...(root === undefined ? {} : { root }),
    process,
    network,
    files: files.map(({ path, source, sha256, size, mode, why }) => ({
      path,
      source,
      sha256,
      size,
      mode: octal(mode),
      ...(why === undefined ? {} : { why }),
    })),
    symlinks,
    directories: directories.map(({ path, mode }) => ({ path, mode: octal(mode) })),
    writable,
    ...(mounts === undefined ? {} : { mounts }),
    ...(limits === undefined ? {} : { limits }),
    ...(security === undefined ? {} : { security }),
    ...(restart === undefined ? {} : { restart }),
    ...(logs === undefined ? {} : { logs }),
    ...(health === undefined ? {} : { health }),
  };
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}
