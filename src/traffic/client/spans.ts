/** Spans of time within a run. */

/** In microseconds since the run's start. */
export type Span = { readonly fromUs: number; readonly toUs: number };

/** Puts spans in order and joins those that overlap. */
export function mergeSpans(spans: readonly Span[]): Span[] {
  const merged: { fromUs: number; toUs: number }[] = [];
  for (const { fromUs, toUs } of spans.toSorted((a, b) => a.fromUs - b.fromUs)) {
    const last = merged.at(-1);
    if (last !== undefined && fromUs <= last.toUs) last.toUs = Math.max(last.toUs, toUs);
    else merged.push({ fromUs, toUs });
  }
  return merged;
}

/** Whether something from `fromUs` to `toUs` overlaps one of the spans, which are in order and do not overlap. */
export function overlaps(spans: readonly Span[], fromUs: number, toUs: number): boolean {
  let [low, high] = [0, spans.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (spans[middle]!.toUs <= fromUs) low = middle + 1;
    else high = middle;
  }
  return low < spans.length && spans[low]!.fromUs < toUs;
}
