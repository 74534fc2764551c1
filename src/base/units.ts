/** Quantities as people read them. */

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** `1536` -> `1.5 KiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${BYTE_UNITS[unit]}`;
}

/** Microseconds -> `850 µs`, `12.3 ms`, `4.2 s`. */
export function formatMicros(micros: number): string {
  if (micros < 1000) return `${Math.round(micros)} µs`;
  if (micros < 1_000_000) return `${(micros / 1000).toFixed(micros < 100_000 ? 1 : 0)} ms`;
  return `${(micros / 1_000_000).toFixed(1)} s`;
}

/** Milliseconds -> `12 s`, `5 min`, `3 h`, `2 d`: how long something has been so. */
export function formatAge(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** `plural(1, 'page')` -> `1 page`; `plural(2, 'page')` -> `2 pages`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** Two figures, from so much to so much: enough for an estimate. */
function rough(value: number): string {
  return value < 10 ? value.toFixed(1) : String(Number(value.toPrecision(2)));
}

/** Microseconds -> `1.4 to 12 ms`, `340 ms to 1.2 s`, each with two figures. */
export function formatMicrosRange(least: number, most: number): string {
  const unitOf = (micros: number): readonly [number, string] =>
    micros < 995 ? [1, 'µs'] : micros < 995_000 ? [1000, 'ms'] : [1_000_000, 's'];
  const text = (micros: number, [size]: readonly [number, string]): string =>
    size === 1 ? String(Math.round(micros)) : rough(micros / size);
  const [from, to] = [unitOf(least), unitOf(most)];
  const [first, last] = [text(least, from), `${text(most, to)} ${to[1]}`];
  return from[1] !== to[1] ? `${first} ${from[1]} to ${last}` : first === text(most, to) ? last : `${first} to ${last}`;
}
