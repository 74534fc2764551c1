/** What is known of the files of root tests before they run: what may be beside them, and how long they take. */

/**
 * - `lab`: a lab, which has the name of the lane, and nothing else that others could have as well.
 * - `machine`: names that are fixed for this machine (network namespaces, links, ports, caches): never beside another such.
 * - `alone`: it counts what is on this machine, or is disturbed by anything.
 */
export type Needs = 'lab' | 'machine' | 'alone';

export type RootTest = {
  /** From the project's directory on. */
  readonly file: string;
  readonly needs: Needs;
  /** About; for the order. */
  readonly seconds: number;
};

const ALONE: ReadonlySet<string> = new Set(['test/chain/leaves-nothing.test.ts', 'test/lab/virtual-machines.test.ts']);
/** In a lab, and yet: it fetches the same Debian packages into the same cache as test/configer/servers.test.ts. */
const OF_THE_MACHINE: ReadonlySet<string> = new Set(['test/chain/servers.test.ts']);

/** On two CPUs, with another file beside it. Those that are not here take less than the last of them. */
export const SECONDS: Readonly<Record<string, number>> = {
  'test/chain/failure.test.ts': 120,
  'test/chain/replicated-failure.test.ts': 116,
  'test/chain/postcopy-failure.test.ts': 89,
  'test/chain/rough-link.test.ts': 55,
  'test/chain/replicated-large.test.ts': 54,
  'test/chain/ended-at-destination.test.ts': 47,
  'test/chain/written.test.ts': 34,
  'test/chain/servers.test.ts': 34,
  'test/chain/lifecycle.test.ts': 33,
  'test/chain/modes.test.ts': 29,
  'test/chain/memory-modes.test.ts': 28,
  'test/chain/sdn-death.test.ts': 27,
  'test/lab/lab.test.ts': 27,
  'test/chain/overload.test.ts': 26,
  'test/chain/migrate.test.ts': 25,
  'test/chain/memory-limit.test.ts': 24,
  'test/chain/replicated.test.ts': 23,
  'test/chain/manager-death.test.ts': 21,
  'test/chain/files.test.ts': 20,
};
const SHORT = 10;

function needsOf(file: string): Needs {
  if (ALONE.has(file)) return 'alone';
  return file.startsWith('test/chain/') && !OF_THE_MACHINE.has(file) ? 'lab' : 'machine';
}

export function rootTest(file: string): RootTest {
  return { file, needs: needsOf(file), seconds: SECONDS[file] ?? SHORT };
}

/** Files that are told apart here by name. */
export const NAMED = [...ALONE, ...OF_THE_MACHINE, ...Object.keys(SECONDS)];
