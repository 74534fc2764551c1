/**
 * The times of every request of a run as a file, so that what was in flight during a migration or a stall of the machine
 * can be told apart afterwards. Text, one line a request; docs/measuring.md describes it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { ComicranError } from '../../base/errors.ts';
import type { RunRecord } from './run-record.ts';

const COLUMNS = 'index,dueUs,sentUs,answeredUs,counter';

export type TimelineEntry = {
  readonly index: number;
  /** Microseconds since the run's start, as the times that follow. */
  readonly dueUs: number;
  readonly sentUs: number;
  /** Undefined: never. */
  readonly answeredUs: number | undefined;
  readonly counter: number | undefined;
};

export type Timeline = {
  /** When request 0 was due. */
  readonly startUnixUs: number;
  readonly rate: number;
  readonly entries: readonly TimelineEntry[];
};

const blankIfNone = (value: number, digits: number): string => (Number.isNaN(value) ? '' : value.toFixed(digits));

function timelineText(record: RunRecord, startUnixUs: number): string {
  const lines = [`# startUnixUs=${startUnixUs} rate=${record.rate}`, COLUMNS];
  for (let index = 0; index < record.sent; index++) {
    const answered = blankIfNone(record.answeredUs[index]!, 1);
    const counter = blankIfNone(record.counters[index]!, 0);
    const [due, sent] = [record.intendedUs(index).toFixed(1), record.sentUs[index]!.toFixed(1)];
    lines.push(`${index},${due},${sent},${answered},${counter}`);
  }
  return `${lines.join('\n')}\n`;
}

export function writeTimeline(file: string, record: RunRecord, startUnixUs: number): void {
  try {
    writeFileSync(file, timelineText(record, startUnixUs));
  } catch (cause) {
    throw new ComicranError('usage', `cannot write the timeline ${file}`, { cause });
  }
}

/** @throws ComicranError config.invalid where `text` is not what {@link timelineText} makes. */
function parseTimeline(text: string, file: string): Timeline {
  const [head, columns, ...lines] = text.trimEnd().split('\n');
  const match = /^# startUnixUs=([0-9]+) rate=([0-9.]+)$/.exec(head ?? '');
  if (match === null || columns !== COLUMNS) throw new ComicranError('config.invalid', `${file} is not a timeline`);
  const entries = lines.map((line, number): TimelineEntry => {
    const [index, dueUs, sentUs, answeredUs, counter, ...more] = line
      .split(',')
      .map((text) => (text === '' ? undefined : Number(text)));
    const numbers = [index, dueUs, sentUs, answeredUs ?? 0, counter ?? 0];
    if (more.length > 0 || !numbers.every((value) => Number.isFinite(value))) {
      throw new ComicranError('config.invalid', `${file}:${number + 3} is not a line of a timeline: '${line}'`);
    }
    return { index: index!, dueUs: dueUs!, sentUs: sentUs!, answeredUs, counter };
  });
  return { startUnixUs: Number(match[1]), rate: Number(match[2]), entries };
}

export function readTimeline(file: string): Timeline {
  return parseTimeline(readFileSync(file, 'utf8'), file);
}
