/** A migration while it goes on. Pure: events in, text out. */
import type { FallbackEvent, Lag, MigrationEvent, PhaseEvent } from '../api/gen/comicran_pb.ts';
import { formatBytes, formatMicros, plural } from '../base/units.ts';

/** Without a terminal, a phase that goes on is told of no more often than this. */
const QUIET_US = 1_000_000;
/** A terminal that does not know its width (0), or is too narrow for a line to be read, is written to as if it were this. */
const USUAL_COLUMNS = 80;
const FEWEST_COLUMNS = 20;

const CLEAR = '\r\x1b[K';

/** In which bytes say how far it is; in the others they stand still. */
const MOVES_BYTES: ReadonlySet<string> = new Set(['copy', 'pages']);

/** Why a mode was given up, in a few words: the result has all of it. */
const GIVEN_UP: Readonly<Record<string, string>> = {
  'replication.diverged': 'its copy answered differently',
  'replication.overrun': 'its copy lost an input',
  'replication.unsuitable': 'the server cannot be replicated',
  'replication.lagging': 'its copy did not catch up',
};

function lagText({ inputs, outputs }: Lag): string {
  if (inputs === 0n && outputs === 0n) return 'caught up';
  return `${plural(Number(inputs), 'input')}, ${plural(Number(outputs), 'output')} behind`;
}

/** How far a phase has got; empty where there is nothing to count. */
function stateText({ phase, doneBytes, totalBytes, lag, missingBytes }: PhaseEvent): string {
  if (missingBytes !== undefined) return `${formatBytes(Number(missingBytes))} still to come`;
  if (lag !== undefined) return lagText(lag);
  if (!MOVES_BYTES.has(phase) || totalBytes === 0n) return '';
  const percent = (doneBytes * 100n) / totalBytes;
  return `${formatBytes(Number(doneBytes))} of ${formatBytes(Number(totalBytes))} (${percent} %)`;
}

const line = (atUs: number, what: string, more: string): string =>
  `  ${formatMicros(atUs).padStart(9)}  ${what.padEnd(9)}  ${more}`.trimEnd();

type Running = { readonly event: PhaseEvent; readonly startUs: number };

/**
 * Turns the events of one migration into what is written: a line a phase, with when it began and how long it took. On a
 * terminal the line of the phase under way is written again as it changes; elsewhere it is written when the phase is over,
 * and meanwhile once a second how far it has got.
 */
export class MigrationProgress {
  /** Undefined: no terminal. */
  readonly #columns: number | undefined;
  #running: Running | undefined;
  /** Each attempt counts from its own beginning: what came before it. */
  #offsetUs = 0;
  #lastUs = 0;
  #toldUs = 0;
  /** A line on the terminal that has no end yet. */
  #open = false;

  /** @param columns width of the terminal; undefined: it is none. */
  constructor(columns: number | undefined) {
    this.#columns = columns !== undefined && columns < FEWEST_COLUMNS ? USUAL_COLUMNS : columns;
  }

  /** @returns what to write, maybe nothing. */
  show({ event }: MigrationEvent): string {
    if (event.case === 'fallback') return this.#fallBack(event.value);
    return event.case === 'phase' ? this.#phase(event.value) : '';
  }

  /**
   * @param lastTookUs how long the last phase took; undefined: it has not come to its end
   * @returns what ends the report, to be written before anything else is.
   */
  end(lastTookUs?: number): string {
    return this.#endPhase(lastTookUs);
  }

  #phase(event: PhaseEvent): string {
    const ownUs = Number(event.atUs);
    // Another attempt.
    if (ownUs + this.#offsetUs < this.#lastUs) this.#offsetUs = this.#lastUs;
    const atUs = ownUs + this.#offsetUs;
    this.#lastUs = atUs;
    let text = '';
    if (event.phase !== this.#running?.event.phase) {
      text = this.#endPhase(atUs - (this.#running?.startUs ?? atUs), event.doneBytes);
      this.#toldUs = atUs;
      this.#running = { event, startUs: atUs };
    } else {
      this.#running = { event, startUs: this.#running.startUs };
    }
    if (event.note !== '') text += this.aside(line(atUs, event.phase, event.note));
    return text + this.#underWay(this.#running, atUs);
  }

  #underWay({ event, startUs }: Running, atUs: number): string {
    if (this.#columns !== undefined) {
      this.#open = true;
      return `${CLEAR}${this.#cut(line(startUs, event.phase, stateText(event) || '…'))}`;
    }
    if (atUs - this.#toldUs < QUIET_US) return '';
    this.#toldUs = atUs;
    return `${line(atUs, event.phase, `goes on  ${stateText(event)}`)}\n`;
  }

  /** @param doneBytes as far as it had come at its end; absent: as it was last told */
  #endPhase(tookUs: number | undefined, doneBytes?: bigint): string {
    const running = this.#running;
    if (running === undefined) return '';
    this.#running = undefined;
    const clear = this.#open ? CLEAR : '';
    this.#open = false;
    const { event, startUs } = running;
    const bytes = Math.max(Number(doneBytes ?? 0n), Number(event.doneBytes));
    const moved = MOVES_BYTES.has(event.phase) && bytes > 0 ? `, ${formatBytes(bytes)}` : '';
    const more = tookUs === undefined ? 'not finished' : `took ${formatMicros(tookUs)}${moved}`;
    return `${clear}${this.#cut(line(startUs, event.phase, more))}\n`;
  }

  #fallBack({ fromMode, toMode, code, reason, atUs }: FallbackEvent): string {
    const text = this.#endPhase(undefined);
    this.#lastUs = Math.max(this.#lastUs, Number(atUs));
    const why = GIVEN_UP[code] ?? reason;
    return `${text}${line(this.#lastUs, fromMode, `is given up: ${why}; going on with ${toMode}`)}\n`;
  }

  /** A line of its own, which stays; the phase goes on below it. */
  aside(text: string): string {
    const clear = this.#open ? CLEAR : '';
    this.#open = false;
    return `${clear}${text}\n`;
  }

  /** A line that breaks could not be written again. */
  #cut(text: string): string {
    if (this.#columns === undefined || text.length < this.#columns) return text;
    return `${text.slice(0, this.#columns - 2)}…`;
  }
}
