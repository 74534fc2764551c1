/** The base configuration: what a person writes about a sandbox. docs/configuration.md is checked against the schema. */
import { posix } from 'node:path';
import {
  absolutePath,
  ENVIRONMENT_NAME,
  isCText,
  isEnvironmentName,
  isNormalPath,
  linkTarget,
  networkSpec,
  octalMode,
  portProblems,
  sandboxId,
} from '../base/config-schemas.ts';
import { readConfigText } from '../base/config-text.ts';
import {
  limitsSpec,
  mountProblems,
  mounts,
  oomScoreAdjust,
  rlimits,
  securitySpec,
  userSpec,
} from '../base/containment-schemas.ts';
import { healthSpec, lifecycleProblems, logsSpec, restartSpec } from '../base/lifecycle-schemas.ts';
import { resolveInTree } from '../base/sandbox-tree.ts';
import {
  flag,
  list,
  mapping,
  object,
  oneOf,
  optional,
  type Problem,
  refined,
  required,
  type Schema,
  shortOrLong,
  text,
} from '../base/schema.ts';

/** Written by people: a thousand files are a quarter of it. A parser of YAML takes seconds for more. */
export const MAX_BYTES = 256 * 1024;

type ValueOf<S> = S extends Schema<infer T> ? T : never;

const sourcePath = text(
  'a path on this machine, absolute or relative to the configuration file',
  (value) => value !== '' && isCText(value),
  '.',
);

/** Text; a whole number stands for its digits, so that `--port 5006` needs no quotes. */
const word = refined(
  'text (true, false and null in quotes)',
  (value) => {
    if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value);
    return typeof value === 'string' && isCText(value) ? value : undefined;
  },
  // To other readers of YAML than ours 1.10 is a number.
  { type: ['string', 'number'] },
);

const placed = object('where it comes from and where it goes', {
  source: required(sourcePath),
  path: optional(absolutePath),
  mode: optional(octalMode),
});

/** A file of the host for the sandbox: at the same path, or at another. */
export type Placed = ValueOf<typeof placed>;

const fileSpec = shortOrLong(absolutePath, placed, (path): Placed => ({ source: path }));

const directorySpec = shortOrLong(
  absolutePath,
  object('a directory', { path: required(absolutePath), mode: required(octalMode, 0o755) }),
  (path) => ({ path, mode: 0o755 }),
);

/** Each rule that finds files which no ELF header names, by its name; rules/ has them, and what each brings. */
const dependencies = object('the rules that find dependencies', {
  nodeModules: required(flag(), true),
  pythonModules: required(flag(), true),
  dlopenNotes: required(flag(), true),
  plugins: required(flag(), true),
  namedLibraries: required(flag(), false),
  nameServices: required(flag(), true),
  resolver: required(flag(), false),
  locale: required(flag(), true),
  characterSets: required(flag(), false),
  timeZone: required(flag(), true),
  certificates: required(flag(), false),
});

export type Dependencies = ValueOf<typeof dependencies>;
export type DependencyName = keyof Dependencies;

/** What stands in for a `dependencies` that is not there. */
export const DEFAULT_DEPENDENCIES: Dependencies = dependencies.read({}, [], () => {})!;

export const BASE_CONFIG_SCHEMA = object('a base configuration', {
  id: required(sandboxId),
  root: optional(absolutePath),
  process: required(
    object('the root process', {
      executable: required(fileSpec),
      arguments: required(list(word), []),
      environment: required(mapping(ENVIRONMENT_NAME, isEnvironmentName, word), {}),
      workingDirectory: required(absolutePath, '/'),
      user: optional(userSpec),
      rlimits: optional(rlimits),
      oomScoreAdjust: optional(oomScoreAdjust),
    }),
  ),
  network: required(networkSpec),
  executables: required(list(fileSpec), []),
  files: required(list(fileSpec), []),
  directories: required(list(directorySpec), []),
  symlinks: required(
    list(object('a symbolic link', { path: required(absolutePath), target: required(linkTarget) })),
    [],
  ),
  writable: required(list(absolutePath), []),
  mounts: optional(mounts),
  limits: optional(limitsSpec),
  security: optional(securitySpec),
  restart: optional(restartSpec),
  logs: optional(logsSpec),
  health: optional(healthSpec),
  dependencies: optional(dependencies),
  etc: required(oneOf('minimal', 'none'), 'minimal'),
});

export type BaseConfig = ValueOf<typeof BASE_CONFIG_SCHEMA>;

/**
 * A base configuration from YAML or JSON text.
 *
 * @param fileName as it stands in messages.
 * @throws ComicranError config.invalid that lists every problem, one a line: `file:line:column: key: found: allowed`.
 */
export function parseBaseConfig(text: string, fileName: string): BaseConfig {
  return readConfigText(text, {
    fileName,
    what: 'a base configuration',
    schema: BASE_CONFIG_SCHEMA,
    check: baseConfigProblems,
    maxBytes: MAX_BYTES,
  });
}

function baseConfigProblems(config: BaseConfig): Problem[] {
  const problems = [
    ...portProblems(config.network.ports, ['network', 'ports']),
    ...mountProblems(config.mounts ?? []),
    ...lifecycleProblems(config),
  ];
  const files: [Placed, (string | number)[]][] = [
    [config.process.executable, ['process', 'executable']],
    ...config.executables.map((file, index): [Placed, (string | number)[]] => [file, ['executables', index]]),
    ...config.files.map((file, index): [Placed, (string | number)[]] => [file, ['files', index]]),
  ];
  for (const [{ source, path }, at] of files) {
    if (path !== undefined || isNormalPath(source)) continue;
    const allowed = 'an absolute path in the sandbox, because the source is not one';
    problems.push({ path: [...at, 'path'], at: 'value', found: 'missing', allowed });
  }
  let looping = false;
  const links = new Map(config.symlinks.map(({ path, target }) => [path, target]));
  for (const [index, { path, target }] of config.symlinks.entries()) {
    const at = ['symlinks', index, 'target'];
    if (climbsOut(path, target)) {
      const allowed = 'a target that does not climb above the root of the sandbox';
      problems.push({ path: at, at: 'value', found: target, allowed });
    } else if (!looping && resolveInTree(path, links) === undefined) {
      looping = true; // once for all links of the loop
      problems.push({ path: at, at: 'value', found: target, allowed: 'not a part of a loop of links' });
    }
  }
  return problems;
}

/** The kernel would stop at the root; who wrote it meant something else. */
function climbsOut(path: string, target: string): boolean {
  let depth = target.startsWith('/')
    ? 0
    : posix
        .dirname(path)
        .split('/')
        .filter((name) => name !== '').length;
  for (const name of target.split('/')) {
    if (name === '..') depth--;
    else if (name !== '' && name !== '.') depth++;
    if (depth < 0) return true;
  }
  return false;
}
