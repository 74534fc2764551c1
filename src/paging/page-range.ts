/** Pages by number: an address divided by {@link PAGE_BYTES}. A number holds every one exactly. */

export const PAGE_BYTES = 4096;

/** A run of pages at the source. */
export type PageRun = { readonly page: number; readonly count: number };

export function pageOf(address: bigint): number {
  return Number(address / BigInt(PAGE_BYTES));
}

export function addressOfPage(page: number): bigint {
  return BigInt(page) * BigInt(PAGE_BYTES);
}

export function countPages(runs: readonly PageRun[]): number {
  return runs.reduce((sum, { count }) => sum + count, 0);
}

/** Ranges in bytes as runs. */
export function pageRuns(ranges: readonly { readonly start: bigint; readonly length: number }[]): PageRun[] {
  return ranges.map(({ start, length }) => ({ page: pageOf(start), count: length / PAGE_BYTES }));
}
