/** From what was recorded to what is reported. docs/measuring.md says what each figure means. */
import type { RunRecord } from './run-record.ts';
import { overlaps, type Span } from './spans.ts';

/** Microseconds; null where there was no answer. */
export type Latency = {
  readonly p50: number | null;
  readonly p90: number | null;
  readonly p99: number | null;
  readonly p999: number | null;
  readonly max: number | null;
};

/** What the server's counter showed. */
export type CounterReport = {
  readonly first: number;
  readonly last: number;
  /** Numbers between first and last that no answer carried. */
  readonly missing: number;
  /** Answers that carried a number which another answer had carried already. */
  readonly repeated: number;
};

/** How well the client kept to its schedule. */
export type PacingReport = {
  /** How much later than due requests were sent. */
  readonly lateUs: Latency;
  /** How often requests that were due had waited for {@link STALL_US} or longer. */
  readonly stalls: number;
  /** Most requests that were sent at once to catch up. */
  readonly largestBurst: number;
};

export type Unanswered = { readonly index: number; readonly sentUnixUs: number };

export type ClientReport = {
  readonly target: string;
  readonly rate: number;
  /** When request 0 was due. */
  readonly startUnixUs: number;
  readonly durationMs: number;
  readonly sent: number;
  readonly answered: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly wrong: number;
  readonly reordered: number;
  readonly exactlyOnce: boolean | null;
  readonly counter: CounterReport | null;
  readonly latencyUs: Latency;
  readonly latencyFromSendUs: Latency;
  readonly maxGapMs: number;
  readonly pacing: PacingReport;
  /** Port-unreachable messages: for a moment nobody was there. */
  readonly refused: number;
  /** Requests that the kernel did not take; they count as sent, and as lost. */
  readonly sendFailures: number;
  /** Datagrams that this client's own full receive queue dropped; null: the kernel does not say. */
  readonly receiveDrops: number | null;
  /** Whether it was ended before its time. */
  readonly interrupted: boolean;
  /** The first {@link MAX_UNANSWERED} requests without an answer. */
  readonly unanswered: readonly Unanswered[];
  readonly wrongSamples: readonly string[];
};

const MAX_UNANSWERED = 100;
const STALL_US = 1000;

/** What the run's surroundings know and its record does not. */
export type RunFacts = {
  readonly target: string;
  readonly startUnixUs: number;
  readonly refused: number;
  readonly sendFailures: number;
  readonly receiveDrops: number | null;
  readonly interrupted: boolean;
  /** Other clients ask the same server, so that its counter has gaps for this one. */
  readonly shared: boolean;
};

const rounded = (value: number, digits: number): number => Math.round(value * 10 ** digits) / 10 ** digits;

/** Exact percentiles by nearest rank: the smallest value that at least that share does not exceed. Sorts `values`. */
export function latencyOf(values: Float64Array): Latency {
  values.sort();
  const at = (share: number): number | null =>
    values.length === 0 ? null : rounded(values[Math.max(0, Math.ceil(values.length * share) - 1)]!, 1);
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(1) };
}

export type Undisturbed = {
  /** Answered requests that were in flight during one of the spans. */
  readonly leftOut: number;
  readonly latencyUs: Latency;
  readonly latencyFromSendUs: Latency;
};

/**
 * Latency of the answered requests that `keep` wants, by when they were due and when they were answered.
 *
 * @param since `intended`: from when the request was due, so that a client which could not send in time does not hide
 * what its requests would have met (coordinated omission). `sent`: from when it was handed to the kernel.
 */
export function latencyWhere(
  record: RunRecord,
  since: 'intended' | 'sent',
  keep: (dueUs: number, answeredUs: number) => boolean = () => true,
): Latency {
  const values = new Float64Array(record.answered);
  let count = 0;
  for (let index = 0; index < record.sent; index++) {
    const answered = record.answeredUs[index]!;
    if (Number.isNaN(answered)) continue;
    const intended = record.intendedUs(index);
    if (!keep(intended, answered)) continue;
    values[count++] = answered - (since === 'intended' ? intended : record.sentUs[index]!);
  }
  return latencyOf(values.subarray(0, count));
}

/** The latencies without the requests that a stall of the platform may have delayed, to stand beside those with them. */
export function undisturbed(record: RunRecord, stalls: readonly Span[]): Undisturbed {
  let leftOut = 0;
  for (let index = 0; index < record.sent; index++) {
    const answered = record.answeredUs[index]!;
    if (!Number.isNaN(answered) && overlaps(stalls, record.intendedUs(index), answered)) leftOut++;
  }
  const quiet = (dueUs: number, answeredUs: number): boolean => !overlaps(stalls, dueUs, answeredUs);
  return {
    leftOut,
    latencyUs: latencyWhere(record, 'intended', quiet),
    latencyFromSendUs: latencyWhere(record, 'sent', quiet),
  };
}

function pacingOf(record: RunRecord): PacingReport {
  const late = new Float64Array(record.sent);
  let stalls = 0;
  let largestBurst = 0;
  let burst = 0;
  for (let index = 0; index < record.sent; index++) {
    const lateUs = record.sentUs[index]! - record.intendedUs(index);
    late[index] = lateUs;
    // A request that was due before its predecessor was sent belongs to the same burst.
    const catchesUp = index > 0 && record.intendedUs(index) < record.sentUs[index - 1]!;
    burst = catchesUp ? burst + 1 : 1;
    if (burst === 1 && lateUs >= STALL_US) stalls++;
    largestBurst = Math.max(largestBurst, burst);
  }
  return { lateUs: latencyOf(late), stalls, largestBurst };
}

function counterOf(record: RunRecord): CounterReport | null {
  const inFirstAnswers = record.counters.subarray(0, record.sent).filter((counter) => !Number.isNaN(counter));
  if (inFirstAnswers.length === 0) return null;
  const counters = new Float64Array(inFirstAnswers.length + record.counterOfDuplicates.length);
  counters.set(inFirstAnswers);
  counters.set(record.counterOfDuplicates, inFirstAnswers.length);
  counters.sort();
  let distinct = 1;
  for (let at = 1; at < counters.length; at++) if (counters[at] !== counters[at - 1]) distinct++;
  const [lowest, highest] = [counters[0]!, counters[counters.length - 1]!];
  return {
    first: lowest,
    last: highest,
    missing: highest - lowest + 1 - distinct,
    repeated: counters.length - distinct,
  };
}

/**
 * Whether the server processed each request exactly once, as far as its answers can show: every request was answered
 * rightly and once, and the counters in the answers are all different and without a gap. Null: cannot be said, because
 * the server does not count or (with `shared`) because others make it count too and nothing else is amiss.
 */
function exactlyOnceOf(record: RunRecord, counter: CounterReport | null, shared: boolean): boolean | null {
  if (counter === null) return null;
  const answeredOnce = record.answered === record.sent && record.duplicated === 0 && record.wrong === 0;
  const allCount = record.counters.subarray(0, record.sent).every((value) => !Number.isNaN(value));
  if (!answeredOnce || !allCount || counter.repeated > 0) return false;
  if (counter.missing === 0) return true;
  return shared ? null : false;
}

function unansweredOf(record: RunRecord, startUnixUs: number): Unanswered[] {
  const found: Unanswered[] = [];
  for (let index = 0; index < record.sent && found.length < MAX_UNANSWERED; index++) {
    if (!Number.isNaN(record.answeredUs[index]!)) continue;
    found.push({ index, sentUnixUs: Math.round(startUnixUs + record.sentUs[index]!) });
  }
  return found;
}

export function reportOf(record: RunRecord, facts: RunFacts): ClientReport {
  const counter = counterOf(record);
  return {
    target: facts.target,
    rate: record.rate,
    startUnixUs: facts.startUnixUs,
    durationMs: rounded((record.sent * 1000) / record.rate, 1),
    sent: record.sent,
    answered: record.answered,
    lost: record.sent - record.answered,
    duplicated: record.duplicated,
    wrong: record.wrong,
    reordered: record.reordered,
    exactlyOnce: exactlyOnceOf(record, counter, facts.shared),
    counter,
    latencyUs: latencyWhere(record, 'intended'),
    latencyFromSendUs: latencyWhere(record, 'sent'),
    maxGapMs: rounded(record.maxGapUs / 1000, 3),
    pacing: pacingOf(record),
    refused: facts.refused,
    sendFailures: facts.sendFailures,
    receiveDrops: facts.receiveDrops,
    interrupted: facts.interrupted,
    unanswered: unansweredOf(record, facts.startUnixUs),
    wrongSamples: record.wrongSamples,
  };
}
