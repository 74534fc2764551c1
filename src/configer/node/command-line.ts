/** Which files a command line of Node names: `node [options] [script] [arguments]`, and NODE_OPTIONS. */

export type NodeCommand = {
  /** As written; undefined where there is none (`-e`, `-p`, the interactive prompt). */
  readonly script: string | undefined;
  /** Of --require: paths or packages. */
  readonly required: readonly string[];
  /** Of --import and --loader. */
  readonly imported: readonly string[];
  /** Of --conditions. */
  readonly conditions: readonly string[];
  /** Of --env-file. */
  readonly envFiles: readonly string[];
};

const REQUIRED = ['-r', '--require'];
const IMPORTED = ['--import', '--loader', '--experimental-loader'];
const CONDITIONS = ['-C', '--conditions'];
const ENV_FILES = ['--env-file', '--env-file-if-exists'];
/** The program is in the next word, so there is no script. */
const PROGRAM = ['-e', '--eval', '-p', '--print', '-pe'];
/** Others that take the next word; all others have theirs behind = or need none. */
const WITH_WORD = [
  ...['--title', '--icu-data-dir', '--openssl-config', '--redirect-warnings', '--diagnostic-dir', '--disable-warning'],
  ...[
    '--input-type',
    '--stack-trace-limit',
    '--max-http-header-size',
    '--dns-result-order',
    '--trace-event-categories',
  ],
  ...[
    '--unhandled-rejections',
    '--secure-heap',
    '--secure-heap-min',
    '--tls-cipher-list',
    '--tls-keylog',
    '--watch-path',
  ],
  ...[
    '--heapsnapshot-signal',
    '--report-dir',
    '--report-directory',
    '--report-filename',
    '--report-signal',
    '--cpu-prof-dir',
  ],
];

export function parseNodeCommand(words: readonly string[], nodeOptions = ''): NodeCommand {
  const found = { required: [], imported: [], conditions: [], envFiles: [] } as Record<string, string[]>;
  const lists: readonly [readonly string[], string[]][] = [
    [REQUIRED, found['required']!],
    [IMPORTED, found['imported']!],
    [CONDITIONS, found['conditions']!],
    [ENV_FILES, found['envFiles']!],
    [WITH_WORD, []],
  ];
  /** @returns the index of the first word that is no option. */
  const options = (from: readonly string[]): number => {
    for (let index = 0; index < from.length; index++) {
      const word = from[index]!;
      if (word === '--') return index + 1;
      if (!word.startsWith('-') || word === '-') return index;
      const [name, value] = splitAtEquals(word);
      if (PROGRAM.includes(name)) return Number.POSITIVE_INFINITY;
      const list = lists.find(([names]) => names.includes(name))?.[1];
      if (list === undefined) continue;
      const given = value ?? from[++index];
      if (given !== undefined) list.push(given);
    }
    return from.length;
  };
  options(nodeOptions.split(/\s+/).filter((word) => word !== ''));
  const script = words[options(words)];
  return {
    script: script === '-' ? undefined : script,
    required: found['required']!,
    imported: found['imported']!,
    conditions: found['conditions']!,
    envFiles: found['envFiles']!,
  };
}

function splitAtEquals(word: string): [string, string | undefined] {
  const at = word.startsWith('--') ? word.indexOf('=') : -1;
  return at === -1 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)];
}
