/** What every mode is put through: failing ports, aborts, deaths of daemons, broken connections. */
import assert from 'node:assert/strict';
import type { Moved } from '../outcome.ts';
import type { Death } from './life.ts';
import {
  checkNothingLost,
  checkOneInstance,
  type Report,
  runScenario,
  type ScenarioOptions,
  type Side,
} from './scenario.ts';
import type { Break } from './stream.ts';

export type Run = (options?: Partial<ScenarioOptions>) => Promise<Report>;

/** Runs scenarios that have this in common; whatever happens in them, exactly one instance is left, and requests go to it. */
export function runner(common: Partial<ScenarioOptions>): Run {
  return async (options = {}) => {
    const report = await runScenario({ seed: 1, ...common, ...options });
    checkOneInstance(report);
    assert.equal(report.world.route, report.world.record.owner, 'requests go to where somebody answers');
    return report;
  };
}

export function moved({ source }: Report): Moved {
  assert.ok(source?.outcome === 'moved' && 'stopMicros' in source, `the source ${source?.outcome}`);
  return source;
}

export const phaseNames = (report: Report): string[] => moved(report).phases.map(({ phase }) => phase);

export function assertNoLeftovers(report: Report): void {
  assert.deepEqual([...moved(report).leftovers, ...(report.destination?.leftovers ?? [])], []);
}

/** Each port fails once: no request is lost, and the source answers on. @param places such as "destination begin" */
export async function failEach(
  run: Run,
  places: readonly string[],
  seeds: number,
  check: (report: Report, place: string) => void,
): Promise<void> {
  for (const place of places)
    for (let seed = 0; seed < seeds; seed++) {
      const report = await run({ seed, failing: { [place]: 1 } });
      checkNothingLost(report);
      assert.equal(report.source?.outcome, 'stayed', place);
      assert.equal(report.world.source.runs, true, place);
      check(report, place);
    }
}

/** The names of places on both sides. */
export const placesOf = (source: readonly string[], destination: readonly string[]): string[] => [
  ...source.map((name) => `source ${name}`),
  ...destination.map((name) => `destination ${name}`),
];

export function assertNobodyFenced({ world }: Report, place: string): void {
  assert.equal(world.record.epoch, 7n, `${place}: nobody was fenced`);
}

/** The operator aborts at many moments: the source answers on, or the destination does, and both are seen. */
export async function abortOften(run: Run, upToMicros: number, everyMicros: number): Promise<void> {
  const seen = new Set<string | undefined>();
  for (let abortAt = 0; abortAt < upToMicros; abortAt += everyMicros) {
    const report = await run({ abortAt });
    checkNothingLost(report);
    seen.add(report.source?.outcome);
  }
  assert.deepEqual([...seen].toSorted(), ['moved', 'stayed']);
}

export const MOMENTS = ['before', 'during', 'after'] as const;

/** So many times a call that is made over and over is died at, and at its last calls. */
const TIMES = 3;
const LAST_CALLS = 60;

/** All the ways in which a side can die in a migration like that one. @param repeated names of calls made over and over */
export function deathsOf(good: Report, side: Side, repeated: ReadonlySet<string> = new Set()): Death[] {
  const counts = new Map<string, number>();
  const calls = good.calls[side];
  return calls.flatMap((name, index) => {
    const count = (counts.get(name) ?? 0) + 1;
    counts.set(name, count);
    if (repeated.has(name) && count > TIMES && index < calls.length - LAST_CALLS) return [];
    return MOMENTS.map((moment) => ({ call: index + 1, moment }));
  });
}

/** A side dies in each of these ways; what fails says which one it was. @param check what holds beside {@link runner}'s */
export async function dieEach(
  run: Run,
  good: Report,
  side: Side,
  deaths: readonly Death[],
  options: Partial<ScenarioOptions> = {},
  check: (report: Report, death: Death) => void = () => undefined,
): Promise<void> {
  for (const death of deaths) {
    try {
      check(await run({ ...options, deaths: { [side]: [death] } }), death);
    } catch (error) {
      const name = good.calls[side][death.call - 1];
      throw new Error(`${side} dies ${death.moment} call ${death.call}, ${name}`, { cause: error });
    }
  }
}

/** A daemon that dies before TAKE, or before it has taken, costs no request. */
export async function dieEachBefore(run: Run, good: Report, side: Side, deaths: readonly Death[]): Promise<void> {
  await dieEach(run, good, side, deaths, {}, (report) => {
    assert.equal(report.world.source.runs, true);
    checkNothingLost(report);
  });
}

export type Strides = {
  /** At both ends of what is sent. */
  readonly fine: number;
  /** In between, where there are pages. */
  readonly coarse: number;
  readonly endBytes: number;
};

/**
 * The first connection breaks behind the bytes of one direction: nothing is lost.
 * @returns how the source ended, in order of the alphabet
 */
export async function breakOften(
  run: Run,
  good: Report,
  { direction, how }: Pick<Break, 'direction' | 'how'>,
  { fine, coarse, endBytes }: Strides,
): Promise<(string | undefined)[]> {
  const { toSource, toDestination } = good.world.connections[0]!.bytes();
  const total = direction === 'to-source' ? toSource : toDestination;
  const outcomes = new Set<string | undefined>();
  for (let bytes = 0; bytes < total; bytes += bytes > endBytes && bytes < total - endBytes ? coarse : fine) {
    const report = await run({ breaks: [{ direction, bytes, how }] });
    checkNothingLost(report);
    outcomes.add(report.source?.outcome);
  }
  return [...outcomes].toSorted();
}

export const BREAKS = (['cut', 'stall'] as const).flatMap((how) =>
  (['to-source', 'to-destination'] as const).map((direction) => ({ how, direction })),
);
