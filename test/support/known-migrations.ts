/** What the machines know of migrations, by `smanager migrations`. */
import { parseJsonOutput, runComicran } from '../../src/lab/demo/program.ts';

export type KnownMigration = {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  readonly mode: string | null;
  readonly outcome: 'moved' | 'stayed' | 'halted' | 'under way';
  readonly phase: string | null;
  readonly reasonCode: string | null;
};

const PATIENCE_MS = 60_000;
const POLL_MS = 200;

export async function knownMigrations(name: string): Promise<KnownMigration[]> {
  return parseJsonOutput(await runComicran(['smanager', 'migrations', name, '--json'])) as KnownMigration[];
}

/** The last one, when it is over. @param count of all of them, with the one that is waited for. */
export async function lastMigration(name: string, count: number): Promise<KnownMigration> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const known = await knownMigrations(name);
    const last = known.at(-1);
    if (last !== undefined && known.length === count && last.outcome !== 'under way') return last;
    if (performance.now() > deadline) throw new Error(`${known.length} migrations, the last: ${JSON.stringify(last)}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
