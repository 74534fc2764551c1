/** How long requests took that were in flight during migrations, against those of the same run that were not. */
import type { WindowFigures } from '../../src/lab/demo/figures.ts';
import { type Figure, single } from './figure.ts';

/** Percentiles of requests in migrations, in percent of those of the control. */
const LATENCY_BAR = 110;

/** Without the requests that a stall of the platform may have delayed. */
export const quietly = (figures: WindowFigures) => figures.undisturbed ?? figures;

/** @param judged only a copy that answers while it is made can keep clients from noticing. */
export function latencyFigures(what: string, moving: WindowFigures, control: WindowFigures, judged: boolean): Figure[] {
  const ratio = (key: 'p50' | 'p99', quiet: boolean): Figure => {
    const of = (figures: WindowFigures) => (quiet ? quietly(figures) : figures).latencyUs[key];
    const name = `latency ${key} in migrations against control${quiet ? ' without platform stalls' : ''}, ${what}`;
    const bar = judged && quiet ? { maxBar: LATENCY_BAR } : {};
    return { name, unit: '%', summary: single((100 * of(moving)) / of(control)), ...bar };
  };
  return [ratio('p50', false), ratio('p50', true), ratio('p99', false), ratio('p99', true)];
}
