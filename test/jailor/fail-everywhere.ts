/**
 * Makes a sandbox again and again, each time failing before another operation, and prints as JSON what was left behind and
 * what was said. A program of its own, because the thread that applies a plan enters the sandbox's namespaces.
 *
 *     fail-everywhere.ts STATE_DIRECTORY CONFIG.json run|skeleton
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { ComicranError } from '../../src/base/errors.ts';
import { applyPlan } from '../../src/jailor/apply.ts';
import { storeDirectory } from '../../src/jailor/naming.ts';
import { describe, type Operation } from '../../src/jailor/operations.ts';
import { planSandbox } from '../../src/jailor/plan.ts';
import { prepare } from '../../src/jailor/run.ts';
import { descriptorCount, leftBehind } from '../support/inventory.ts';
import { takeSandboxInventory } from './support.ts';

const [, , stateDirectory = '', configFile = '', kind = ''] = process.argv;
const config = JSON.parse(readFileSync(configFile, 'utf8'));
const plan = planSandbox(config, {
  stateDirectory,
  stdio: 'inherit',
  ...(kind === 'skeleton' ? { skeleton: { hatcheryPid: 31_000 } } : {}),
});
const NAMESPACES = ['mnt', 'uts', 'ipc', 'cgroup', 'net', 'pid_for_children'];

/** What must be as it was, whatever happened. */
function look() {
  return {
    inventory: takeSandboxInventory(stateDirectory),
    own: [
      ...NAMESPACES.map((name) => readlinkSync(`/proc/thread-self/ns/${name}`)),
      readFileSync('/proc/self/cgroup', 'utf8'),
      String(descriptorCount(process.pid)),
    ],
  };
}

export type Attempt = {
  readonly step: string;
  readonly left: readonly string[];
  readonly moved: boolean;
  readonly code: string;
  readonly message: string;
  readonly cause: string;
};

async function attempt(failing: Operation): Promise<Attempt> {
  const before = look();
  let thrown: unknown;
  try {
    await applyPlan(config.id, plan, {
      storeDirectory: storeDirectory(stateDirectory),
      before: (operation) => {
        if (operation === failing) throw new Error('on purpose');
      },
    });
  } catch (error) {
    thrown = error;
  }
  const after = look();
  const error = thrown instanceof ComicranError ? thrown : undefined;
  return {
    step: describe(failing),
    left: leftBehind(before.inventory, after.inventory),
    moved: JSON.stringify(before.own) !== JSON.stringify(after.own),
    code: error?.code ?? 'none',
    message: error?.message ?? String(thrown),
    cause: error?.cause instanceof Error ? error.cause.message : '',
  };
}

await prepare();
// What is loaded on the way is no leak.
await attempt(plan.at(-1)!);
const attempts: Attempt[] = [];
for (const operation of plan) attempts.push(await attempt(operation));
process.stdout.write(JSON.stringify(attempts));
