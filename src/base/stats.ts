/** Summary of a handful of measurements. The machines are noisy: minimum and median count, the mean never. */
export type Summary = {
  readonly count: number;
  readonly min: number;
  readonly median: number;
  readonly p90: number;
  readonly max: number;
};

/** @param values at least one, in any order. The median of an even count is the upper of the two middle values. */
export function summarise(values: readonly number[]): Summary {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
  return { count: sorted.length, min: at(0), median: at(0.5), p90: at(0.9), max: at(1) };
}
