import type { DescriptorImage } from '../../image/descriptors/types.ts';

/** An inclusive range of descriptor numbers. */
type NumberRange = { readonly first: number; readonly last: number };

const LAST_NUMBER = 0xffff_ffff;

/**
 * Numbers at which open file descriptions can wait until all of them are there: made where the kernel likes, they would
 * otherwise stand in each other's way. The lowest ones that are free, because there may be a limit (RLIMIT_NOFILE).
 *
 * @param taken numbers that are in use now or will be.
 */
export function waitingNumbers(count: number, taken: ReadonlySet<number>): number[] {
  const numbers: number[] = [];
  for (let number = 0; numbers.length < count; number++) if (!taken.has(number)) numbers.push(number);
  return numbers;
}

/** Everything between the numbers that are to stay open. @param kept ascending. */
export function rangesToClose(kept: readonly DescriptorImage[]): NumberRange[] {
  const ranges: NumberRange[] = [];
  let next = 0;
  for (const { number } of kept) {
    if (number > next) ranges.push({ first: next, last: number - 1 });
    next = number + 1;
  }
  ranges.push({ first: next, last: LAST_NUMBER });
  return ranges;
}
