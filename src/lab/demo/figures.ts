/** What the programs that the demonstration runs say, as far as it is used: their --json. */

export type Latency = { readonly p50: number; readonly p99: number; readonly p999: number; readonly max: number };

/** The latencies without the requests that a stall of the platform may have delayed. */
export type Undisturbed = { readonly leftOut: number; readonly latencyUs: Latency };

export type WindowFigures = {
  readonly windows: number;
  readonly seconds: number;
  readonly sent: number;
  readonly lost: number;
  readonly latencyUs: Latency;
  readonly latencyFromSendUs: Latency;
  readonly undisturbed: Undisturbed | null;
};

export type ClientFigures = {
  readonly sent: number;
  readonly answered: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly wrong: number;
  readonly reordered: number;
  readonly exactlyOnce: boolean | null;
  readonly counter: {
    readonly first: number;
    readonly last: number;
    readonly missing: number;
    readonly repeated: number;
  } | null;
  readonly latencyUs: Latency;
  readonly maxGapMs: number;
  readonly receiveDrops: number | null;
  /** With --hiccups. */
  readonly undisturbed?: Undisturbed;
  /** With --windows. */
  readonly windows?: { readonly control: WindowFigures; readonly byLabel: Readonly<Record<string, WindowFigures>> };
};

export type MigrationFigures = {
  readonly mode: string;
  readonly requestedMode: string | null;
  /** Why `mode` is not the one that was asked for. */
  readonly reason: string | null;
  readonly from: string;
  readonly to: string;
  /** From the call of smanager to its result: longer than `totalMs` by the preparation and by taking the source down. */
  readonly startedUnixUs: number;
  readonly endedUnixUs: number;
  /** From where `phases` count. */
  readonly beganUnixUs: number;
  readonly totalMs: number;
  readonly stopMs: number;
  readonly stopUs: number;
  /** Null: does not apply to the mode. So with those that follow. */
  readonly freezeUs: number | null;
  /** `fork` or `tracked`, and why. */
  readonly snapshot: string | null;
  readonly snapshotWhy: string | null;
  readonly cutoverUs: number | null;
  readonly inputsReplayed: number | null;
  readonly outputsCompared: number | null;
  readonly outputsReleased: number | null;
  readonly lagMax: number | null;
  readonly stragglers: number | null;
  readonly pageFaults: number | null;
  readonly rounds: number | null;
  readonly pages: number;
  readonly bytes: number;
  readonly datagramsCarried: number;
  readonly datagramsDropped: number;
  readonly atRisk: number;
  readonly phases: readonly { readonly phase: string; readonly startUs: number; readonly durationUs: number }[];
};

export type PlanFigures = {
  readonly wouldUse: string | null;
  readonly modes: readonly { readonly mode: string; readonly possible: boolean; readonly whyNot: string | null }[];
};
