/** Reads state.json. Apart from state.ts, because jailor itself only writes, and starts faster without zod. */
import { z } from 'zod';
import { ComicranError } from '../base/errors.ts';
import { readTextFile } from '../base/text-file.ts';
import { SAME_IDS } from '../linux/id-map.ts';
import { sandboxPaths } from './naming.ts';
import { NO_RESTARTS, type SandboxState } from './state.ts';

const identity = z.object({ pid: z.int().positive(), startTicks: z.number() });
const processState = identity.extend({ innerPid: z.int().positive() });
const cgroup = z.object({
  paths: z.array(z.string()),
  freezer: z.object({ version: z.union([z.literal(1), z.literal(2)]), path: z.string() }),
});

const id = z.int().nonnegative();
const idRanges = z.array(z.object({ inside: id, outside: id, count: id })).readonly();
const rootFiles = z.object({
  tree: z.string().nullable(),
  sharing: z.enum(['hardlink', 'reflink', 'copy']),
  copiedFiles: z.number(),
  copiedBytes: z.number(),
  rehashedBytes: z.number(),
  repaired: z.array(z.string()),
});
const exit = z.object({
  reason: z.enum(['ended', 'out-of-memory', 'terminated', 'released', 'unhealthy', 'hatchery-lost', 'jailor-lost']),
  code: z.number().nullable(),
  signal: z.string().nullable(),
});
const restarts = z.object({
  count: z.int().nonnegative(),
  inRow: z.int().nonnegative(),
  nextAtMs: z.number().nullable(),
  startedAtMs: z.number().nullable(),
  last: exit.nullable(),
  gaveUp: z.boolean(),
});
const health = z.object({
  status: z.enum(['starting', 'healthy', 'unhealthy']),
  failures: z.int().nonnegative(),
  problem: z.string().nullable(),
});

export const SANDBOX_STATE_SCHEMA: z.ZodType<SandboxState> = z.object({
  version: z.literal(1),
  id: z.string(),
  phase: z.enum(['starting', 'ready', 'created', 'running', 'restarting', 'exited']),
  tag: z.string().regex(/^[0-9a-f]{8}$/),
  address: z.string(),
  startedAtMs: z.number(),
  jailor: identity,
  link: z.string(),
  root: z.string().nullable(),
  files: rootFiles.nullable().default(null),
  cgroup: cgroup.nullable(),
  ids: z.object({ users: idRanges, groups: idRanges }).default(SAME_IDS),
  init: processState.nullable(),
  netns: z.string().nullable(),
  hatchery: processState.nullable(),
  process: processState.nullable(),
  stdio: z.object({ stdout: z.number(), stderr: z.number() }).nullable(),
  exit: exit.nullable(),
  frozen: z.boolean().default(false),
  moving: z.boolean().default(false),
  restarts: restarts.default(NO_RESTARTS),
  health: health.nullable().default(null),
  guests: z.int().nonnegative().default(0),
  kept: z.array(z.object({ name: z.string(), descriptor: z.int().nonnegative() })).default([]),
});

/** Of a state file, which has two or three kilobytes. */
const STATE_MAX_BYTES = 1024 * 1024;

/** @throws ComicranError sandbox.unknown when there is no state file, or it is not one. */
export function readSandboxState(stateDirectory: string, id: string): SandboxState {
  const path = sandboxPaths(stateDirectory, id).state;
  try {
    return SANDBOX_STATE_SCHEMA.parse(JSON.parse(readTextFile(path, STATE_MAX_BYTES)));
  } catch (cause) {
    throw new ComicranError('sandbox.unknown', `there is no sandbox ${id} in ${stateDirectory}`, {
      hint: "'comicran jailor clean' removes what a sandbox that was killed may have left.",
      cause,
    });
  }
}

/** @returns undefined where {@link readSandboxState} throws. */
export function findSandboxState(stateDirectory: string, id: string): SandboxState | undefined {
  try {
    return readSandboxState(stateDirectory, id);
  } catch {
    return undefined;
  }
}
