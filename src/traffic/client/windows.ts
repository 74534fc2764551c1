/**
 * Windows of a run: times in which something went on (a migration), told to the client as Unix time by whoever made it go
 * on. The requests that were in flight in a window stand against those that were in flight in none, the control.
 */
import { readFileSync } from 'node:fs';
import { ComicranError } from '../../base/errors.ts';
import { type Latency, latencyWhere } from './report.ts';
import type { RunRecord } from './run-record.ts';
import { mergeSpans, overlaps, type Span } from './spans.ts';

export type Window = Span & { readonly label: string };

export type WindowFigures = {
  /** Windows of this label. */
  readonly windows: number;
  readonly seconds: number;
  /** Requests that were in flight in one of them; of those that were lost: that were due in one of them. */
  readonly sent: number;
  readonly lost: number;
  readonly latencyUs: Latency;
  readonly latencyFromSendUs: Latency;
  /** Without the requests that a stall of the platform may have delayed; null: nobody watched the platform. */
  readonly undisturbed: {
    readonly leftOut: number;
    readonly latencyUs: Latency;
    readonly latencyFromSendUs: Latency;
  } | null;
};

export type WindowsReport = {
  /** Outside of all windows. */
  readonly control: WindowFigures;
  readonly byLabel: Readonly<Record<string, WindowFigures>>;
};

/**
 * One JSON object a line: `{"label":"replicated","fromUnixUs":1795364809122100,"toUnixUs":1795364809622100}`. Other keys
 * are allowed and not looked at.
 *
 * @param startUnixUs of the run. @throws ComicranError config.invalid
 */
export function parseWindows(text: string, file: string, startUnixUs: number): Window[] {
  const lines = text.split('\n').map((line, index) => ({ line, number: index + 1 }));
  return lines
    .filter(({ line }) => line.trim() !== '')
    .map(({ line, number }) => {
      const { label, fromUnixUs, toUnixUs } = parsedLine(line);
      if (typeof label === 'string' && typeof fromUnixUs === 'number' && typeof toUnixUs === 'number') {
        if (fromUnixUs <= toUnixUs) {
          return { label, fromUs: fromUnixUs - startUnixUs, toUs: toUnixUs - startUnixUs };
        }
      }
      throw new ComicranError('config.invalid', `${file}:${number} is not a window: '${line.slice(0, 200)}'`, {
        hint: 'A line is {"label":TEXT,"fromUnixUs":NUMBER,"toUnixUs":NUMBER}.',
      });
    });
}

function parsedLine(line: string): { label?: unknown; fromUnixUs?: unknown; toUnixUs?: unknown } {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}

export function readWindows(file: string, startUnixUs: number): Window[] {
  try {
    return parseWindows(readFileSync(file, 'utf8'), file, startUnixUs);
  } catch (cause) {
    if (cause instanceof ComicranError) throw cause;
    throw new ComicranError('config.missing-file', `cannot read the windows ${file}`, { cause });
  }
}

type Belongs = (fromUs: number, toUs: number) => boolean;

/** @param stalls of the platform, in order, none overlapping another; undefined: nobody watched. */
function figuresOf(
  record: RunRecord,
  belongs: Belongs,
  length: Pick<WindowFigures, 'windows' | 'seconds'>,
  stalls: readonly Span[] | undefined,
): WindowFigures {
  let [sent, lost, leftOut] = [0, 0, 0];
  for (let index = 0; index < record.sent; index++) {
    const due = record.intendedUs(index);
    const answered = record.answeredUs[index]!;
    const isLost = Number.isNaN(answered);
    const until = isLost ? due : answered;
    if (!belongs(due, until)) continue;
    sent++;
    if (isLost) lost++;
    else if (stalls !== undefined && overlaps(stalls, due, until)) leftOut++;
  }
  const both = (keep: Belongs) => ({
    latencyUs: latencyWhere(record, 'intended', keep),
    latencyFromSendUs: latencyWhere(record, 'sent', keep),
  });
  const quiet: Belongs = (fromUs, toUs) => belongs(fromUs, toUs) && !overlaps(stalls ?? [], fromUs, toUs);
  return {
    ...length,
    sent,
    lost,
    ...both(belongs),
    undisturbed: stalls === undefined ? null : { leftOut, ...both(quiet) },
  };
}

const seconds = (us: number): number => Math.round(us / 1000) / 1000;
const lengthOf = (spans: readonly Span[]): number => spans.reduce((sum, { fromUs, toUs }) => sum + toUs - fromUs, 0);

export function windowsReport(
  record: RunRecord,
  windows: readonly Window[],
  stalls: readonly Span[] | undefined,
): WindowsReport {
  const all = mergeSpans(windows);
  const runUs = (record.sent * 1e6) / record.rate;
  const within = all
    .map(({ fromUs, toUs }) => ({ fromUs: Math.max(0, fromUs), toUs: Math.min(runUs, toUs) }))
    .filter(({ fromUs, toUs }) => fromUs < toUs);
  const byLabel: Record<string, WindowFigures> = {};
  for (const label of new Set(windows.map((window) => window.label))) {
    const own = windows.filter((window) => window.label === label);
    const spans = mergeSpans(own);
    const length = { windows: own.length, seconds: seconds(lengthOf(spans)) };
    byLabel[label] = figuresOf(record, (from, to) => overlaps(spans, from, to), length, stalls);
  }
  const outside = { windows: 0, seconds: seconds(runUs - lengthOf(within)) };
  return { control: figuresOf(record, (from, to) => !overlaps(all, from, to), outside, stalls), byLabel };
}
