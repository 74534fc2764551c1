import type { Summary } from '../../src/base/stats.ts';

export type Figure = {
  readonly name: string;
  readonly unit: 'ms' | 'µs';
  readonly summary: Summary;
  /** What the median must stay under; absent: a control, measured for comparison. */
  readonly medianBar?: number;
};

export function judge(figure: Figure): 'holds' | 'falls short' | 'control' {
  if (figure.medianBar === undefined) return 'control';
  return figure.summary.median < figure.medianBar ? 'holds' : 'falls short';
}
