import { formatMicros } from '../base/units.ts';
import type { HiccupReport } from './hiccup.ts';

/** One line: how quiet the platform was. */
export function renderHiccups(report: Omit<HiccupReport, 'stalls'>): string {
  const { stallCount, longestUs, stalledMs, durationMs, cpus, stolenPercent, thresholdUs } = report;
  const share = durationMs * cpus === 0 ? 0 : (stalledMs / (durationMs * cpus)) * 100;
  const stalls =
    stallCount === 0
      ? `no stall of ${formatMicros(thresholdUs)} or more`
      : `${stallCount} stalls of ${formatMicros(thresholdUs)} or more, the longest ${formatMicros(longestUs)}, ` +
        `together ${share.toFixed(1)} % of the time of ${cpus} CPUs`;
  const doubt = report.realtime ? '' : ' (without real-time priority: some may be due to load on this machine)';
  return `platform: ${stalls}; ${stolenPercent} % of CPU time stolen${doubt}\n`;
}
