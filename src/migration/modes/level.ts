/**
 * Whether a copy is level enough with its process to be cut over to: by how much it is behind, or by how long.
 *
 * A server that answers each request with many datagrams is behind by many at almost any moment, though its copy follows
 * within a millisecond. What it costs is that time, which the copy needs in the cutover to reproduce the rest.
 */
import type { LogCount } from '../ports.ts';

/** Datagrams and answers that the copy may be behind when it is asked to take: it catches up with them behind that. */
const MAX_LAG = 4;
/** How long it must not have been further behind. */
const SETTLED_MICROS = 5_000;
const MIN_REPORTS = 2;
/** The longer it has been waited for, the later a copy may be: 5 ms when it has been a second. */
const PATIENCE = 200;
/** Before something else than a cutover is the better choice. */
const MAX_AGE_MICROS = 20_000;

const MARK_MICROS = 500;
/** Those of {@link MAX_AGE_MICROS}, and some more. */
const MAX_MARKS = 64;

type Mark = LogCount & { readonly micros: number };

/** How long a copy is behind its process: everything that was sent before has been injected, or compared. */
export class CopyAge {
  /** What had been sent at some moments, in their order; none of it has been done by the last look. */
  readonly #marks: Mark[] = [];
  #levelMicros: number;
  micros = 0;

  constructor(nowMicros: number) {
    this.#levelMicros = nowMicros;
  }

  /** @param sent to the copy by now. @param behind how much of that it has not done, as far as it has said */
  look(nowMicros: number, sent: LogCount, behind: LogCount): void {
    const marks = this.#marks;
    const done = { inputs: sent.inputs - behind.inputs, outputs: sent.outputs - behind.outputs };
    if (behind.inputs <= 0 && behind.outputs <= 0) {
      marks.length = 0;
      this.#levelMicros = nowMicros;
    } else {
      const covered = marks.findIndex(({ inputs, outputs }) => inputs > done.inputs || outputs > done.outputs);
      const [last] = marks.splice(0, covered === -1 ? marks.length : covered).slice(-1);
      if (last !== undefined) this.#levelMicros = last.micros;
      const latest = marks.at(-1)?.micros ?? this.#levelMicros;
      if (nowMicros - latest >= MARK_MICROS && marks.length < MAX_MARKS) marks.push({ ...sent, micros: nowMicros });
    }
    this.micros = nowMicros - this.#levelMicros;
  }
}

/** Whether it is late by no more than what so long a wait allows. */
export const isYoung = (age: CopyAge, waitedMicros: number): boolean =>
  age.micros <= Math.min(MAX_AGE_MICROS, waitedMicros / PATIENCE);

/** Whether the copy has been level for long enough. */
export class Settled {
  readonly #age: CopyAge;
  #beganMicros: number | undefined;
  #sinceMicros: number | undefined;
  #sinceReports = 0;

  constructor(age: CopyAge) {
    this.#age = age;
  }

  /** @param lag in datagrams. @param reports how many have come */
  look(nowMicros: number, lag: number, reports: number): boolean {
    if (reports > 0) this.#beganMicros ??= nowMicros;
    if (this.#beganMicros === undefined || (lag > MAX_LAG && !isYoung(this.#age, nowMicros - this.#beganMicros))) {
      this.#sinceMicros = undefined;
      return false;
    }
    if (this.#sinceMicros === undefined) {
      this.#sinceMicros = nowMicros;
      this.#sinceReports = reports;
    }
    return (
      nowMicros - this.#sinceMicros >= SETTLED_MICROS && (lag === 0 || reports - this.#sinceReports >= MIN_REPORTS)
    );
  }
}
