/** A migration while it goes on. Pure: events in, text out. */
import type { FallbackEvent, Lag, MigrationEvent, PhaseEvent } from '../api/gen/comicran_pb.ts';
import { formatBytes, formatMicros } from '../base/units.ts';
import { sayUntouched } from './migrations.ts';

/** Without a terminal, a phase that goes on is told of no more often than this. */
const QUIET_US = 1_000_000n;

const CLEAR = '\r\x1b[K';

const plural = (count: bigint, noun: string): string => `${count} ${noun}${count === 1n ? '' : 's'}`;

function lagText({ inputs, outputs }: Lag): string {
  if (inputs === 0n && outputs === 0n) return '  caught up';
  return `  ${plural(inputs, 'input')}, ${plural(outputs, 'output')} behind`;
}

function phaseText({ phase, atUs, doneBytes, totalBytes, note, lag }: PhaseEvent): string {
  const more = note === '' ? '' : `: ${note}`;
  const percent = totalBytes === 0n ? '' : ` (${(doneBytes * 100n) / totalBytes} %)`;
  const share =
    totalBytes === 0n ? '' : `  ${formatBytes(Number(doneBytes))} of ${formatBytes(Number(totalBytes))}${percent}`;
  return `  ${formatMicros(Number(atUs)).padStart(9)}  ${phase}${more}${share}${lag === undefined ? '' : lagText(lag)}`;
}

function fallbackText({ fromMode, toMode, reason, atUs }: FallbackEvent): string {
  const at = `  ${formatMicros(Number(atUs)).padStart(9)}`;
  return `${at}  ${fromMode} is given up: ${sayUntouched(reason)}; going on with ${toMode}`;
}

/** Turns the events of one migration into what is written: on a terminal the last line is written again as it changes. */
export class MigrationProgress {
  readonly #columns: number | undefined;
  #phase: string | undefined;
  #toldUs = 0n;
  /** A line on the terminal that has no end yet. */
  #open = false;

  /** @param columns width of the terminal; undefined: it is none. */
  constructor(columns: number | undefined) {
    this.#columns = columns;
  }

  /** @returns what to write, maybe nothing. */
  show({ event }: MigrationEvent): string {
    if (event.case === 'fallback') {
      this.#phase = undefined;
      return `${this.end()}${fallbackText(event.value)}\n`;
    }
    if (event.case !== 'phase') return '';
    const isNew = event.value.phase !== this.#phase;
    this.#phase = event.value.phase;
    if (this.#columns !== undefined) {
      const before = isNew ? this.end() : '';
      this.#open = true;
      // A line that breaks could not be written again.
      return `${before}${CLEAR}${phaseText(event.value).slice(0, Math.max(20, this.#columns - 1))}`;
    }
    if (!isNew && event.value.atUs - this.#toldUs < QUIET_US) return '';
    this.#toldUs = event.value.atUs;
    return `${phaseText(event.value)}\n`;
  }

  /** @returns what ends the last line, to be written before anything else is. */
  end(): string {
    const wasOpen = this.#open;
    this.#open = false;
    return wasOpen ? '\n' : '';
  }
}
