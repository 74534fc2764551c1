import type { Streams } from './exec.ts';
import type { Fleet } from './fleet.ts';

/** What the commands have of the program that they are typed into. */
export type CommandContext = {
  /** Opened on first use: `--help` needs no daemon. */
  readonly fleet: () => Promise<Fleet>;
  readonly print: (text: string) => void;
  /** Progress; separate from {@link print}, so that --json output stays clean. */
  readonly progress: (text: string) => void;
  /** Width of the terminal that {@link progress} leads to, on which a line can be written again; absent: none. */
  readonly progressColumns: () => number | undefined;
  readonly nowUnixMs: () => number;
  /** Aborted when the operator interrupts (Ctrl-C). */
  readonly interrupted: () => AbortSignal;
  /** For a program that takes the terminal over; absent: it cannot be had, as in the prompt. */
  readonly exec?: { readonly streams: Streams; readonly exitWith: (status: number) => void };
};
