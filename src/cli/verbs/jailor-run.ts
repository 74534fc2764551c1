/** What `comicran jailor run` does. */
import { describeError } from '../../base/errors.ts';
import type { FullConfig } from '../../base/sandbox-config.ts';
import type { PlanOptions } from '../../jailor/plan.ts';
import type { RunOptions } from '../../jailor/run.ts';
import type { RunFlags } from '../run-words.ts';

/** Sets the exit status. @throws ComicranError */
export async function runJailor(file: string, flags: RunFlags): Promise<void> {
  const options = {
    stateDirectory: flags.state,
    ...(flags.skeleton === true ? { skeleton: { hatcheryPid: flags.hatcheryPid } } : {}),
    ...(flags.created === true ? { created: true as const } : {}),
    restartCount: flags.restarts,
  };
  if (flags.background === true && flags.dryRun !== true) {
    await runBackground(file, options, flags.outcomeFd);
    return;
  }
  const config = await load(file);
  if (flags.dryRun === true) {
    await printPlan(config, { ...options, stdio: flags.background === true ? 'log' : 'inherit' }, flags.json === true);
    return;
  }
  const { runInForeground } = await import('../../jailor/run.ts');
  process.exitCode = await runInForeground(config, options);
}

async function load(file: string): Promise<FullConfig> {
  const { loadFullConfig } = await import('../../jailor/load-config.ts');
  return loadFullConfig(file);
}

async function runBackground(file: string, options: RunOptions, outcomeFd: number | undefined): Promise<void> {
  const { runInBackground } = await import('../../jailor/background.ts');
  const { writeOutcome } = await import('../../jailor/outcome.ts');
  let told = false;
  const tell = (problem?: unknown): void => {
    if (outcomeFd !== undefined && !told) writeOutcome(outcomeFd, problem);
    told = true;
  };
  try {
    await runInBackground(await load(file), options, () => tell());
  } catch (thrown) {
    tell(thrown);
    // What may still be open (the log, the socket) belongs to a sandbox that is not there.
    process.stderr.write(`comicran jailor: ${describeError(thrown)}\n`);
    process.exit(1);
  }
}

async function printPlan(config: FullConfig, options: PlanOptions, json: boolean): Promise<void> {
  const [{ planSandbox }, { describe }] = await Promise.all([
    import('../../jailor/plan.ts'),
    import('../../jailor/operations.ts'),
  ]);
  const plan = planSandbox(config, options);
  process.stdout.write(
    json ? `${JSON.stringify(plan, undefined, 2)}\n` : plan.map((one) => `${describe(one)}\n`).join(''),
  );
}
