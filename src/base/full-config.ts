/** Reads and checks a full configuration: what configer wrote, or somebody wrote by hand. */
import {
  absolutePath,
  ENVIRONMENT_NAME,
  isCText,
  isEnvironmentName,
  linkTarget,
  modeBits,
  networkSpec,
  portProblems,
  sandboxId,
} from './config-schemas.ts';
import { readConfigText } from './config-text.ts';
import {
  limitsSpec,
  mountProblems,
  mounts,
  oomScoreAdjust,
  rlimits,
  securitySpec,
  userSpec,
} from './containment-schemas.ts';
import { healthSpec, lifecycleProblems, logsSpec, restartSpec } from './lifecycle-schemas.ts';
import type { FullConfig } from './sandbox-config.ts';
import { treeProblems } from './sandbox-tree.ts';
import {
  list,
  mapping,
  object,
  oneOf,
  optional,
  type Problem,
  required,
  type Schema,
  text,
  wholeNumber,
} from './schema.ts';

export const FULL_CONFIG_MAX_BYTES = 64 * 1024 * 1024;

const cText = text('text without NUL (a number in quotes)', isCText);

const why = text('what brought it here: a rule of configer, a colon, and what needed it', isCText);

/** The schema of {@link FullConfig}; docs/configuration.md is checked against it. */
export const FULL_CONFIG_SCHEMA = object('a full configuration', {
  version: required(oneOf(1)),
  id: required(sandboxId),
  root: optional(absolutePath),
  process: required(
    object('the root process', {
      executable: required(absolutePath),
      arguments: required(list(cText), []),
      environment: required(mapping(ENVIRONMENT_NAME, isEnvironmentName, cText), {}),
      workingDirectory: required(absolutePath, '/'),
      user: optional(userSpec),
      rlimits: optional(rlimits),
      oomScoreAdjust: optional(oomScoreAdjust),
    }),
  ),
  network: required(networkSpec),
  files: required(
    list(
      object('a file', {
        path: required(absolutePath),
        source: required(absolutePath),
        sha256: required(text('64 digits of lower-case hexadecimal', (value) => /^[0-9a-f]{64}$/.test(value))),
        size: required(wholeNumber(0, Number.MAX_SAFE_INTEGER, 'a number of bytes')),
        mode: required(modeBits),
        why: optional(why),
      }),
    ),
  ),
  symlinks: required(
    list(object('a symbolic link', { path: required(absolutePath), target: required(linkTarget), why: optional(why) })),
    [],
  ),
  directories: required(list(object('a directory', { path: required(absolutePath), mode: required(modeBits) })), []),
  writable: required(list(absolutePath), []),
  mounts: optional(mounts),
  limits: optional(limitsSpec),
  security: optional(securitySpec),
  restart: optional(restartSpec),
  logs: optional(logsSpec),
  health: optional(healthSpec),
}) satisfies Schema<FullConfig>;

/**
 * A full configuration from YAML or JSON text.
 *
 * After it these hold, besides the types: no path stands twice; nothing lies below a file, a symbolic link or a writable
 * path of the configuration (so that who makes the tree never writes through a link); nothing is placed in `/proc`, `/sys`
 * or `/dev`, which are the sandbox's own; the root process's executable is one of the files, by way of the links.
 *
 * @param fileName as it stands in messages.
 * @throws ComicranError config.invalid that lists every problem, one a line: `file:line:column: key: found: allowed`.
 */
export function parseFullConfig(text: string, fileName: string): FullConfig {
  return readConfigText(text, {
    fileName,
    what: 'a full configuration',
    schema: FULL_CONFIG_SCHEMA,
    check: fullConfigProblems,
    insteadOf: baseConfig,
    maxBytes: FULL_CONFIG_MAX_BYTES,
  });
}

/** Every full configuration has a version and hashed files, a base configuration never has the first. */
function baseConfig(value: unknown): { is: string; hint: string } | undefined {
  if (typeof value !== 'object' || value === null || Object.hasOwn(value, 'version')) return undefined;
  const { id, process } = value as { readonly id?: unknown; readonly process?: unknown };
  if (typeof id !== 'string' || typeof process !== 'object') return undefined;
  return {
    is: 'a base configuration, and a full one is needed',
    hint: "Make it with 'comicran configer BASE.yaml -o FULL.yaml', and give FULL.yaml here.",
  };
}

/** What the schema alone cannot say of a full configuration. */
export function fullConfigProblems(config: FullConfig): Problem[] {
  return [
    ...portProblems(config.network.ports, ['network', 'ports']),
    ...treeProblems(config),
    ...mountProblems(config.mounts ?? []),
    ...lifecycleProblems(config),
  ];
}
