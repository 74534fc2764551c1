/**
 * A destination that owns and runs: takes over what waited at the source, lets go of what waited here, and, in `postcopy`,
 * sees to it that its memory becomes whole. Used by the role, and by a daemon that starts again.
 */
import { attendFill, type FillEnd } from './fill-destination.ts';
import { Intake, releasePackets, takeOver, takeOverPatienceMs, Visitors } from './hand-over-destination.ts';
import { advance, type DestinationEntry } from './journal.ts';
import type { Leftovers } from './leftovers.ts';
import type { Owned } from './outcome.ts';
import type { Fill } from './ports.ts';
import type { DestinationAfter, DestinationLine } from './roles.ts';
import { Deadline } from './waiting.ts';

/** How long the source is given to read the last word. */
export const FAILED_MS = 500;
/** Longer than any migration. */
const FOREVER_MS = 24 * 3_600_000;

export type Running = {
  /** At `owned`, or `filled`. */
  readonly entry: DestinationEntry;
  readonly epoch: bigint;
  readonly onRunning: ((epoch: bigint) => void) | undefined;
};

export type Ending = Running & {
  /** Undefined: this daemon does not know what an earlier one has taken over. The source is not asked to repeat it. */
  readonly line: DestinationLine | undefined;
  readonly passDirectly: boolean;
  readonly fill: Fill | undefined;
  /** Where the network's packets are still to be led here: until then this is not over. */
  readonly leading?: Promise<boolean> | undefined;
};

export type Ended =
  | { readonly datagrams: Owned['datagrams']; readonly filled: FillEnd | undefined }
  /** What is missing of its memory does not come. */
  | { readonly error: unknown };

/** Does not throw. */
export async function endOwned(context: DestinationAfter, ending: Ending, leftovers: Leftovers): Promise<Ended> {
  const { ports, migration, deadlines, phases } = context;
  const { epoch, fill, passDirectly, onRunning } = ending;
  const runningMicros = ports.clock.nowMicros();
  fill?.fetchAll();
  phases.speak();
  phases.enter('hand-over');
  const intake = new Intake(context, leftovers);
  if (ending.line === undefined) intake.forget();
  const takeOverMs = takeOverPatienceMs(migration, deadlines);
  using visitors = new Visitors(context, new Deadline(ports.clock, fill === undefined ? takeOverMs : FOREVER_MS));
  let releasing: Promise<number | undefined> | undefined;
  const release = (): Promise<number | undefined> =>
    (releasing ??= releasePackets(ports, leftovers).finally(() => onRunning?.(epoch)));
  // Order is worth a short wait for a source that has gone silent, not a long one: what comes later is injected then.
  if (passDirectly) void release();
  const cancelTimer = ports.clock.startTimer(deadlines.holdMs, () => void release());
  const { complete, line } =
    ending.line === undefined
      ? { complete: false, line: undefined }
      : await takeOver(context, ending.line, epoch, { intake, visitors, leftovers, leading: ending.leading });
  cancelTimer();
  phases.enter('release');
  const held = await release();
  intake.held = held ?? 0;
  if (complete) await line?.send(intake.handedOver, deadlines.stepMs).catch(() => {});
  const datagrams = (): Owned['datagrams'] => ({ injected: intake.injected, held: intake.held, complete });
  // Where they are still held, so is the entry: the next daemon lets them go.
  const clear = async (): Promise<void> => {
    await ending.leading;
    if (held !== undefined) await leftovers.tidy('clearing the journal', () => ports.journal.clear(migration.id));
  };
  if (fill === undefined) {
    await clear();
    if (complete) await line?.closeAfterPeer(FAILED_MS);
    line?.close();
    return { datagrams: datagrams(), filled: undefined };
  }
  phases.enter('fill');
  try {
    const noteFilled = async (): Promise<void> => {
      const entry = advance(ending.entry, 'filled');
      if (held !== undefined) await leftovers.tidy('noting that all is here', () => ports.journal.write(entry));
    };
    const options = { epoch, line, intake, visitors, runningMicros, onFilled: noteFilled };
    const filled = await attendFill(context, fill, options, leftovers);
    await clear();
    return { datagrams: datagrams(), filled };
  } catch (error) {
    return { error };
  }
}
