import { readFileSync } from 'node:fs';
import { runComicran } from '../../src/lab/demo/program.ts';
import { descriptorCount, leftBehind, takeInventory } from '../support/inventory.ts';
import { type ClientReport, client, find, migrate, start } from '../support/lab.ts';

export type SoakOptions = { readonly count: number; readonly rate: number; readonly say: (text: string) => void };
export type SoakOutcome = {
  readonly migrations: number;
  readonly answered: number;
  readonly problems: readonly string[];
};

const STATE = '/var/lib/comicran/lab';
/** Migrations until caches, worker threads and connections are there that stay. */
const WARM_UP = 4;
/** Migrations a client run. */
const BATCH = 10;

/** Descriptors of each daemon of the lab, by name. */
function daemonDescriptors(): Record<string, number> {
  const lab = JSON.parse(readFileSync('/run/comicran/lab.json', 'utf8')) as {
    daemons: Record<string, { pid: number }>;
  };
  return Object.fromEntries(Object.entries(lab.daemons).map(([node, { pid }]) => [node, descriptorCount(pid)]));
}

function clientProblems(report: ClientReport, batch: number): string[] {
  const { lost, duplicated, wrong, exactlyOnce } = report;
  const clean = lost === 0 && duplicated === 0 && wrong === 0 && exactlyOnce === true;
  return clean ? [] : [`client run ${batch}: ${JSON.stringify(report)}`];
}

/** Moves the counting server `count` times. Leaves the machine as it was, also when it throws. */
export async function soak(options: SoakOptions): Promise<SoakOutcome> {
  const problems: string[] = [];
  let answered = 0;
  let moved = 0;
  const untouched = takeInventory([STATE]);
  await runComicran(['lab', 'up']);
  try {
    await start('square.yaml', 'vm1');
    const service = (await find('square'))?.service;
    if (!service) throw new Error('the server has no service');
    const move = async (): Promise<void> => {
      await migrate('square', moved % 2 === 0 ? 'vm2' : 'vm1');
      moved++;
    };
    while (moved < WARM_UP) await move();
    const before = takeInventory([STATE]);
    const descriptors = daemonDescriptors();
    for (let batch = 0; moved < options.count + WARM_UP; batch++) {
      const size = Math.min(BATCH, options.count + WARM_UP - moved);
      let done = false;
      const load = (async (): Promise<void> => {
        while (!done) {
          const report = await client(service, options.rate, 5);
          answered += report.answered;
          problems.push(...clientProblems(report, batch));
        }
      })();
      load.catch(() => undefined);
      try {
        for (let round = 0; round < size; round++) await move();
      } finally {
        done = true;
        await load;
      }
      options.say(
        `  ${moved - WARM_UP}/${options.count} migrations, ${answered} answered, ${problems.length} problems\n`,
      );
    }
    // An even number brings the sandbox back to where the inventory was taken; its own pids are new in any case.
    const after = takeInventory([STATE]);
    for (const kind of Object.keys(after)) {
      const growth = after[kind]!.length - before[kind]!.length;
      if (growth > 0) problems.push(`${growth} more ${kind}: ${leftBehind(before, after).join(', ')}`);
    }
    for (const [name, count] of Object.entries(daemonDescriptors())) {
      if (count > descriptors[name]!) problems.push(`${name} has ${count} descriptors, ${descriptors[name]} before`);
    }
  } finally {
    await runComicran(['lab', 'down']);
  }
  problems.push(...leftBehind(untouched, takeInventory([STATE])));
  return { migrations: moved - WARM_UP, answered, problems };
}
