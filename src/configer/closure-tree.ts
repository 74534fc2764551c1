/** The files of a sandbox as a tree: below each what it has brought, by the `why` of the full configuration. */
import type { FileEntry, FullConfig } from '../base/sandbox-config.ts';
import { formatBytes } from '../base/units.ts';

export type ClosureNode = {
  /** A path in the sandbox, or a key of the configuration, or the id at the top. */
  readonly name: string;
  /** The rule that has brought it; undefined for keys and the top. */
  readonly rule?: string;
  /** Bytes of its own, and with everything below it. */
  readonly bytes: number;
  readonly totalBytes: number;
  readonly files: number;
  readonly children: readonly ClosureNode[];
};

export function closureTree(config: FullConfig): ClosureNode {
  const files = new Map(config.files.map((file) => [file.path, file]));
  const below = new Map<string, FileEntry[]>();
  for (const file of config.files) {
    const { by } = reasonOf(file);
    const list = below.get(by);
    if (list === undefined) below.set(by, [file]);
    else list.push(file);
  }
  const seen = new Set<string>();
  const fileNode = (file: FileEntry): ClosureNode => {
    seen.add(file.path);
    const children = (below.get(file.path) ?? []).filter(({ path }) => !seen.has(path));
    // First all of them: of two ways to a file the shorter is shown.
    for (const { path } of children) seen.add(path);
    return node(file.path, reasonOf(file).rule, file.size, children.map(fileNode));
  };
  const keys = [...below.keys()].filter((by) => !files.has(by));
  const tops = keys.map((key) => node(key, undefined, 0, below.get(key)!.map(fileNode)));
  // What was written by hand may say that two files need each other.
  const rest = config.files
    .filter(({ path }) => !seen.has(path))
    .flatMap((file) => (seen.has(file.path) ? [] : [fileNode(file)]));
  return node(config.id, undefined, 0, [...tops, ...rest]);
}

function reasonOf({ why }: FileEntry): { readonly rule: string | undefined; readonly by: string } {
  if (why === undefined) return { rule: undefined, by: 'files' };
  const at = why.indexOf(': ');
  return at === -1 ? { rule: why, by: 'files' } : { rule: why.slice(0, at), by: why.slice(at + 2) };
}

function node(name: string, rule: string | undefined, bytes: number, children: readonly ClosureNode[]): ClosureNode {
  return {
    name,
    ...(rule === undefined ? {} : { rule }),
    bytes,
    totalBytes: children.reduce((sum, child) => sum + child.totalBytes, bytes),
    files: children.reduce((sum, child) => sum + child.files, rule === undefined ? 0 : 1),
    children,
  };
}

/** A line for each node: its size, with everything below it in brackets, and the rule that has brought it. */
export function formatClosureTree(top: ClosureNode): string {
  const lines: string[] = [];
  const print = (one: ClosureNode, head: string, indent: string): void => {
    lines.push(`${head}${describe(one)}`);
    for (const [index, child] of one.children.entries()) {
      const last = index === one.children.length - 1;
      print(child, `${indent}${last ? '└── ' : '├── '}`, `${indent}${last ? '    ' : '│   '}`);
    }
  };
  print(top, '', '');
  return `${lines.join('\n')}\n`;
}

function describe({ name, rule, bytes, totalBytes, files, children }: ClosureNode): string {
  const all = `${files} ${files === 1 ? 'file' : 'files'}, ${formatBytes(totalBytes)}`;
  if (rule === undefined) return `${name}  (${all})`;
  const own = `${name}  ${formatBytes(bytes)}`;
  const shown = rule === 'configuration' ? '' : `  ${rule}`;
  return children.length === 0 ? `${own}${shown}` : `${own}${shown}  (${all})`;
}
