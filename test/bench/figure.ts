import { type Summary, summarise } from '../../src/base/stats.ts';

export type Figure = {
  readonly name: string;
  /** ms, µs, %, requests… */
  readonly unit: string;
  readonly summary: Summary;
  /** What the median must not exceed. Without any bar: a control, measured for comparison. */
  readonly medianBar?: number;
  /** What the minimum must not exceed: what is left where the machine's noise is away. */
  readonly minBar?: number;
  /** What none may exceed. */
  readonly maxBar?: number;
  /** What the median must reach. */
  readonly medianFloor?: number;
  /** Where to stop improving; not judged. */
  readonly aim?: string;
};

export type BenchOptions = {
  /** Migrations in the sections that count them; absent: as many as the section promises. */
  readonly count: number | undefined;
};

/** A figure that is one value: a count, a ratio. */
export const single = (value: number): Summary => summarise([value]);

type Bar = { readonly text: string; readonly holds: boolean };

function barsOf({ summary, medianBar, minBar, maxBar, medianFloor }: Figure): Bar[] {
  const bars: Bar[] = [];
  if (medianBar !== undefined) bars.push({ text: `median ≤ ${medianBar}`, holds: summary.median <= medianBar });
  if (minBar !== undefined) bars.push({ text: `min ≤ ${minBar}`, holds: summary.min <= minBar });
  if (maxBar !== undefined) bars.push({ text: `max ≤ ${maxBar}`, holds: summary.max <= maxBar });
  if (medianFloor !== undefined) bars.push({ text: `median ≥ ${medianFloor}`, holds: summary.median >= medianFloor });
  return bars;
}

export function barText(figure: Figure): string {
  return (
    barsOf(figure)
      .map((bar) => bar.text)
      .join(', ') || '-'
  );
}

export function judge(figure: Figure): 'holds' | 'falls short' | 'control' {
  const bars = barsOf(figure);
  if (bars.length === 0) return 'control';
  return bars.every((bar) => bar.holds) ? 'holds' : 'falls short';
}
