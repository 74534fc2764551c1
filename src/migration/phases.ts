/** The phases of a migration as each side sees them, their times, and the report of where it stands. */
import type { Clock } from './ports.ts';

export const SOURCE_PHASES = {
  connect: 'reaching the destination and agreeing on what comes',
  watch: 'beginning to watch what goes into the process and comes out of it',
  copy: 'copying its memory while it runs, in rounds, until little is left (precopy; replicated where there is much of it)',
  sketch: 'telling the destination what it can build beforehand, and waiting until it has (postcopy)',
  capture: 'making ready to stop the process, and capturing it stopped; replicated: it then runs on',
  image: 'sending the process without its pages',
  pages: 'reading and sending its memory',
  restore: 'waiting for the destination to have it whole',
  follow: 'feeding the copy at the destination until it has caught up',
  commit: 'giving the right to answer away; at the end of it the destination runs',
  'hand-over': 'carrying over the datagrams that came while nobody ran',
  fill: 'serving the rest of its memory to the destination, where it runs',
  end: 'ending the process here',
} as const;

export const DESTINATION_PHASES = {
  accept: 'waiting for the source and agreeing on what comes',
  copy: 'receiving its memory while it runs at the source',
  sketch: 'building what can be built of the process before it is stopped (postcopy)',
  image: 'receiving the process without its pages',
  build: 'building the process',
  pages: 'receiving and writing its memory',
  finish: 'putting the last of it in place',
  follow: 'running silently, fed with the input of the source, and compared with it',
  offer: 'waiting for the right to answer',
  keep: 'keeping the whole copy of a source that is not heard any more, until somebody says what is to become of it',
  take: 'changing the record of who answers',
  run: 'letting the process run',
  'hand-over': 'injecting the datagrams that came while nobody ran',
  release: 'handing over the packets that were held',
  fill: 'fetching the rest of its memory, while it runs here',
} as const;

export type SourcePhase = keyof typeof SOURCE_PHASES;
export type DestinationPhase = keyof typeof DESTINATION_PHASES;

/** Microseconds, by the side's own clock, from the side's beginning. */
export type PhaseTime<Phase extends string> = {
  readonly phase: Phase;
  readonly startMicros: number;
  readonly durationMicros: number;
};

export type Progress<Phase extends string> = {
  readonly phase: Phase;
  readonly atMicros: number;
  /** Bytes of pages and image. */
  readonly doneBytes: number;
  /** 0 while it is not known. */
  readonly totalBytes: number;
  /** How far the copy at the destination is behind. */
  readonly lag?: LogLag;
  /** Something that an operator should know: "the sdn does not answer". */
  readonly note?: string;
  /** Of a process that runs at the destination: bytes that have not come yet. */
  readonly missingBytes?: number;
};

/** Datagrams in and out that the copy has not had, or not made. */
export type LogLag = { readonly inputs: number; readonly outputs: number };

/**
 * Nobody answers while they last, which is a millisecond where all goes well: telling people of it would take the CPUs from
 * those who end it. Notes are told all the same.
 */
const UNTOLD: ReadonlySet<string> = new Set<SourcePhase | DestinationPhase>(['commit', 'take', 'run']);
/** Between two reports of bytes or lag alone: the process is stopped while they are made. */
const REPORT_MICROS = 50_000;

/** Notes when each phase began and tells the listener. A listener that throws is not called again. */
export class PhaseLog<Phase extends string> {
  readonly #clock: Clock;
  readonly #beganMicros: number;
  readonly #times: PhaseTime<Phase>[] = [];
  #listener: ((progress: Progress<Phase>) => void) | undefined;
  #current: { readonly phase: Phase; readonly startMicros: number } | undefined;
  #reportedMicros = 0;
  #doneBytes = 0;
  #totalBytes = 0;
  #lag: LogLag | undefined;
  #isHushed = false;
  readonly #marks: { readonly moment: string; readonly atMicros: number }[] = [];
  #missingBytes: number | undefined;

  constructor(clock: Clock, listener: ((progress: Progress<Phase>) => void) | undefined) {
    this.#clock = clock;
    this.#listener = listener;
    this.#beganMicros = clock.nowMicros();
  }

  get elapsedMicros(): number {
    return this.#clock.nowMicros() - this.#beganMicros;
  }

  /** The phase that is under way; undefined before the first and after {@link finish}. */
  get current(): Phase | undefined {
    return this.#current?.phase;
  }

  get doneBytes(): number {
    return this.#doneBytes;
  }

  /** Ends the phase under way and begins this one. */
  enter(phase: Phase): void {
    this.#end();
    // How far the copy was behind while it was followed says nothing of what comes next.
    this.#lag = undefined;
    this.#current = { phase, startMicros: this.elapsedMicros };
    if (!UNTOLD.has(phase) && (!this.#isHushed || this.#isReportDue)) this.#report();
  }

  /**
   * Phases that follow each other quickly are not told each, from here to {@link speak}: nobody answers while they last, and
   * it is the same CPUs that would tell.
   */
  hush(): void {
    this.#isHushed = true;
  }

  speak(): void {
    this.#isHushed = false;
  }

  get #isReportDue(): boolean {
    return this.elapsedMicros - this.#reportedMicros >= REPORT_MICROS;
  }

  expectBytes(total: number): void {
    this.#totalBytes = total;
  }

  addBytes(count: number): void {
    this.#doneBytes += count;
    if (this.#isReportDue) this.#report();
  }

  setLag(lag: LogLag): void {
    this.#lag = lag;
    if (this.#isReportDue) this.#report();
  }

  setMissing(bytes: number): void {
    this.#missingBytes = bytes;
    if (this.#isReportDue) this.#report();
  }

  note(text: string): void {
    this.#report(text);
  }

  /** Notes a moment of the phase under way, for whoever wants to know where the time goes. */
  mark(moment: string): void {
    this.#marks.push({ moment, atMicros: this.elapsedMicros - (this.#current?.startMicros ?? 0) });
  }

  /** For people: each moment with the microseconds since its phase began. */
  get marks(): string {
    return this.#marks.map(({ moment, atMicros }) => `${moment} ${Math.round(atMicros)}`).join(', ');
  }

  /** @returns the times of all phases, in order. */
  finish(): readonly PhaseTime<Phase>[] {
    this.#end();
    return this.#times;
  }

  #end(): void {
    if (this.#current === undefined) return;
    const { phase, startMicros } = this.#current;
    this.#times.push({ phase, startMicros, durationMicros: this.elapsedMicros - startMicros });
    this.#current = undefined;
  }

  #report(note?: string): void {
    const phase = this.#current?.phase;
    if (this.#listener === undefined || phase === undefined) return;
    this.#reportedMicros = this.elapsedMicros;
    const progress = {
      phase,
      atMicros: this.#reportedMicros,
      doneBytes: this.#doneBytes,
      totalBytes: this.#totalBytes,
      ...(this.#lag === undefined ? {} : { lag: this.#lag }),
      ...(note === undefined ? {} : { note }),
      ...(this.#missingBytes === undefined ? {} : { missingBytes: this.#missingBytes }),
    };
    try {
      this.#listener(progress);
    } catch {
      // Whoever watches must not decide over a process that is stopped.
      this.#listener = undefined;
    }
  }
}
