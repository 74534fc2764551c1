/** Which number a request carries, and which request an answer belongs to: an answer says it by itself. */

/** Most requests of one run: their times are kept, 24 bytes each. */
export const MAX_REQUESTS = 20_000_000;

export type Numbering = {
  /** The number that request `index` (from 0) asks to be squared. */
  request(index: number): string;
  /** The index of the request that `square` answers; undefined where it is the square of none. */
  indexOf(square: string): number | undefined;
};

/** 1, 2, 3…: as small as can be. */
export const shortNumbers: Numbering = {
  request: (index) => String(index + 1),
  indexOf: (square) => {
    // 20,000,000 squared has 15 digits: a double holds it exactly.
    if (!/^[1-9][0-9]{0,14}$/.test(square)) return undefined;
    const value = Number(square);
    const root = Math.round(Math.sqrt(value));
    return root * root === value ? root - 1 : undefined;
  },
};

/** Shortest length for which the parts of {@link longNumbers} do not overlap. */
export const MIN_DIGITS = 17;
export const MAX_DIGITS = 32_000;

/**
 * Numbers of `digits` digits, 10^(digits-1) + index. Their square is 10^(2w) + 2·index·10^w + index² with w = digits - 1:
 * a one, twice the index in w digits, its square in w digits. So an answer of any length is checked without arithmetic
 * on long numbers.
 */
export function longNumbers(digits: number): Numbering {
  const width = digits - 1;
  const squareOf = (index: number): string =>
    `1${String(2 * index).padStart(width, '0')}${String(index * index).padStart(width, '0')}`;
  return {
    request: (index) => `1${String(index).padStart(width, '0')}`,
    indexOf: (square) => {
      if (square.length !== 2 * width + 1) return undefined;
      const index = Number(square.slice(1, width + 1)) / 2;
      return Number.isInteger(index) && index < MAX_REQUESTS && square === squareOf(index) ? index : undefined;
    },
  };
}
