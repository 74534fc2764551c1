/** What the sections that move sandboxes have in common: the lab, the manager, and which modes there are. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { MigrationFigures, PlanFigures } from '../../src/lab/demo/figures.ts';
import { parseJsonOutput, runComicran } from '../../src/lab/demo/program.ts';
import { find } from '../support/lab.ts';
import { Manager, NotMoved } from '../support/manager.ts';

/** Brings the lab up, and takes it away whatever happens. */
export async function inLab<T>(use: (manager: Manager) => Promise<T>): Promise<T> {
  await runComicran(['lab', 'up']);
  try {
    const manager = new Manager();
    try {
      return await use(manager);
    } finally {
      await manager.close();
    }
  } finally {
    await runComicran(['lab', 'down']);
  }
}

/** Modes in which a sandbox of vm1 can be moved; the best first. */
export async function offeredModes(name: string): Promise<string[]> {
  const plan = parseJsonOutput(
    await runComicran(['smanager', 'migrate', name, 'vm2', '--dry-run', '--json']),
  ) as PlanFigures;
  return plan.modes.filter(({ possible }) => possible).map(({ mode }) => mode);
}

export async function serviceOf(name: string): Promise<string> {
  const service = (await find(name))?.service;
  if (!service) throw new Error(`'${name}' has no service`);
  return service;
}

export type Moves = {
  readonly mode: string;
  readonly count: number;
  /** Between two migrations. */
  readonly pauseMs: number;
  /** Further words of the command. */
  readonly more?: readonly string[];
  /** The pause begins behind it. */
  readonly onMoved?: (moved: MigrationFigures, round: number) => Promise<void> | void;
};

/** So many failures one behind the other are one that stays. */
const MAX_FAILURES_IN_A_ROW = 3;

/**
 * Moves a sandbox there and back again, without a fallback.
 * @returns those that took place. @throws where several in a row did not
 */
export async function moveOften(manager: Manager, name: string, moves: Moves): Promise<MigrationFigures[]> {
  const { mode, count, pauseMs, more = [], onMoved } = moves;
  const found: MigrationFigures[] = [];
  let at = (await find(name))?.vm;
  let failuresInARow = 0;
  for (let round = 0; round < count; round++) {
    try {
      const fallback = mode === 'replicated' ? { fallback: 'none' } : {};
      const moved = await manager.migrate(name, at === 'vm1' ? 'vm2' : 'vm1', { mode, more, ...fallback });
      at = moved.to;
      failuresInARow = 0;
      found.push(moved);
      await onMoved?.(moved, found.length - 1);
    } catch (thrown) {
      if (!(thrown instanceof NotMoved) || ++failuresInARow === MAX_FAILURES_IN_A_ROW) throw thrown;
      process.stderr.write(`  ${name} (${mode}) ${round + 1}/${count}: NOT MOVED: ${thrown.message}\n`);
    }
    if ((round + 1) % 10 === 0) process.stderr.write(`  ${name} (${mode}) ${round + 1}/${count}\n`);
    await sleep(pauseMs);
  }
  return found;
}

export const millis = (migrations: readonly MigrationFigures[], pick: (each: MigrationFigures) => number | null) =>
  migrations.flatMap((each) => {
    const micros = pick(each);
    return micros === null ? [] : [micros / 1000];
  });
