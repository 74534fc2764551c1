/** The fork of a stopped process that a snapshot reads from: everything of its memory, and nothing that is noticed. */
import { AREA, type MemoryArea } from '../image/types.ts';
import { CALLS } from '../linux/agent.ts';
import type { Errand } from '../linux/errand.ts';
import { forkProcess } from '../linux/fork.ts';
import { CALL_BYTES } from '../linux/remote-call.ts';
import { SYS } from '../linux/syscall-numbers.ts';
import type { RemoteCall, Tracee } from '../linux/tracee.ts';
import type { AreaSurvey } from './memory.ts';

/** Of the calls that fit into one run, those before or behind the fork; some are for the subreaper flag. */
const HALF = CALLS / 2 - 4;
const QUARTER = HALF / 2;

type Span = { start: bigint; end: bigint };

const PR_SET_CHILD_SUBREAPER = 36;
const PR_GET_CHILD_SUBREAPER = 37;

const MADV_DONTFORK = 10;
const MADV_DOFORK = 11;
const MADV_WIPEONFORK = 18;
const MADV_KEEPONFORK = 19;

/** Calls to make right before a fork, and right behind it. */
export type ForkAdvice = { readonly before: readonly RemoteCall[]; readonly after: readonly RemoteCall[] };

/** What to advise the kernel such that a clone has all memory, and such that a later one has as much as before. */
export function forkAdvice({ areas, specials }: Pick<AreaSurvey, 'areas' | 'specials'>): ForkAdvice {
  const left = joined(areas, AREA.DONT_FORK);
  const wiped = joined(areas, AREA.WIPE_ON_FORK);
  return {
    before: [
      ...spans(left, specials).map((span) => advise(span, MADV_DOFORK)),
      ...wiped.map((span) => advise(span, MADV_KEEPONFORK)),
    ],
    after: [...left.map((span) => advise(span, MADV_DONTFORK)), ...wiped.map((span) => advise(span, MADV_WIPEONFORK))],
  };
}

/**
 * Forks by the main thread, which has the agent.
 *
 * @param advice for the areas that the process has now. @param calls to make before the fork, in the same run.
 * @param errand as of forkProcess. @returns the PID of the clone, see linux/fork.ts, and the results of `calls`.
 */
export function cloneProcess(
  main: Tracee,
  advice: ForkAdvice,
  calls: readonly RemoteCall[],
  errand: Errand<unknown>,
): { readonly pid: number; readonly results: readonly bigint[] } {
  const before = [...advice.before];
  const after = [...advice.after];
  // What one run has no room for is done right before and behind it.
  const asked = calls.length > QUARTER ? main.batch(calls) : null;
  if (asked === null) before.unshift(...calls);
  if (before.length > HALF) main.batch(before.splice(HALF));
  const rest = after.splice(HALF);
  // A subreaper would become the parent of the clone. What it is goes from the first call into the last one.
  const position = before.length + 2 + after.length;
  const value = main.agent.tableAddress + BigInt(position * CALL_BYTES + 16);
  before.push(
    { what: 'read the subreaper flag', number: SYS.prctl, args: [PR_GET_CHILD_SUBREAPER, value, 0, 0, 0] },
    { what: 'clear the subreaper flag', number: SYS.prctl, args: [PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0] },
  );
  after.push({ what: 'set the subreaper flag', number: SYS.prctl, args: [PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0] });
  try {
    const { clone, results } = forkProcess(main, before, after, errand);
    return { pid: clone, results: asked ?? results.slice(0, calls.length) };
  } finally {
    if (rest.length > 0) main.batch(rest);
  }
}

function advise({ start, end }: Span, advice: number): RemoteCall {
  // ENOMEM: there is a hole in the span, and what is not is done all the same.
  const mayFail = advice === MADV_DOFORK;
  const what = `advice ${advice} for the memory at 0x${start.toString(16)}`;
  return { what, number: SYS.madvise, args: [start, end - start, advice], mayFail };
}

/** The areas with a flag; those that touch as one. */
function joined(areas: readonly MemoryArea[], flag: number): Span[] {
  const found: Span[] = [];
  for (const { start, end, flags } of areas) {
    if ((flags & flag) === 0) continue;
    const last = found.at(-1);
    if (last?.end === start) last.end = end;
    else found.push({ start, end });
  }
  return found;
}

/** The least number of spans that cover others, but nothing of the kernel's own areas, for which there is no advice. */
function spans(parts: readonly Span[], specials: readonly Span[]): Span[] {
  const found: Span[] = [];
  for (const { start, end } of parts) {
    const last = found.at(-1);
    const between = specials.some((special) => last !== undefined && special.start >= last.end && special.end <= start);
    if (last !== undefined && !between) last.end = end;
    else found.push({ start, end });
  }
  return found;
}
