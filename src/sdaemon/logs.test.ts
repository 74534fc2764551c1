import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, readdirSync, rmSync, statSync, write, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { LogWriter } from '../jailor/log-writer.ts';
import { makePipe } from '../linux/pipe.ts';
import { keepCarriedLog, type LoggedLine, logToCarry, MAX_CARRIED_BYTES, readLog } from './logs.ts';

const writeFd = promisify(write);

const line = (t: number, text: string): string => `${JSON.stringify({ t, stream: 'stdout', line: text })}\n`;

async function all(path: string, tail: number): Promise<string[]> {
  const found: LoggedLine[] = [];
  const signal = AbortSignal.timeout(10_000);
  for await (const one of readLog(path, { tail, follow: false, signal })) found.push(one);
  return found.map(({ text }) => text);
}

test('rotated lines come first, a torn line is left out, tail takes the last', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-logs-'));
  try {
    const path = join(directory, 'log');
    writeFileSync(`${path}.1`, line(1, 'one') + line(2, 'two'));
    writeFileSync(path, `${line(3, 'three')}{"t":4,"stre`);
    assert.deepEqual(await all(path, 0), ['one', 'two', 'three']);
    assert.deepEqual(await all(path, 2), ['two', 'three']);
    assert.deepEqual(await all(join(directory, 'none'), 0), []);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('what was written before a move comes first after it, and does not grow without end', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-logs-'));
  try {
    const [source, destination] = [join(directory, 'source'), join(directory, 'destination')];
    writeFileSync(source, line(1, 'one') + line(2, 'two'));
    keepCarriedLog(destination, logToCarry(source));
    writeFileSync(destination, line(3, 'three'));
    assert.deepEqual(await all(destination, 0), ['one', 'two', 'three']);
    writeFileSync(source, line(1, 'x'.repeat(1000)).repeat(2000));
    const carried = logToCarry(source);
    assert.ok(carried.length <= MAX_CARRIED_BYTES && carried.length > MAX_CARRIED_BYTES - 2000);
    assert.equal(carried.at(-1), 0x0a);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('who follows a log has every line once, in order, however often the files are turned over', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-logs-'));
  try {
    const path = join(directory, 'log');
    const log = new LogWriter(path, { maxFileBytes: 400, files: 40 });
    const pipe = makePipe();
    const { ended } = log.follow('stdout', pipe.readFd);
    const stop = new AbortController();
    const found: string[] = [];
    const reading = (async () => {
      for await (const { text } of readLog(path, { tail: 0, follow: true, pollMs: 1, signal: stop.signal })) {
        found.push(text);
        if (text === 'line 599') stop.abort();
      }
    })();
    for (let n = 0; n < 600; n++) {
      writeSync(pipe.writeFd, `line ${n}\n`);
      if (n % 20 === 0) await sleep(3);
    }
    closeSync(pipe.writeFd);
    await ended;
    log.close();
    await Promise.race([reading, sleep(10_000, undefined, { ref: false })]);
    assert.deepEqual(
      found,
      Array.from({ length: 600 }, (_, n) => `line ${n}`),
    );
    assert.ok(readdirSync(directory).length > 20, 'it has been turned over often');
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('what is printed without end and without lines fills no more than it may, and is marked where it is cut', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-logs-'));
  try {
    const path = join(directory, 'log');
    const log = new LogWriter(path, { maxFileBytes: 65_536, maxLineBytes: 8_192, files: 3 });
    const pipe = makePipe();
    const { ended } = log.follow('stdout', pipe.readFd);
    const chunk = Buffer.alloc(4_096, 0x01);
    // In another thread: a full pipe holds up whoever writes, and this one reads.
    for (let n = 0; n < 1_000; n++) await writeFd(pipe.writeFd, chunk);
    writeSync(pipe.writeFd, '\nlast\n');
    closeSync(pipe.writeFd);
    await ended;
    log.close();
    const sizes = readdirSync(directory).map((name) => statSync(join(directory, name)).size);
    assert.equal(sizes.length, 3);
    assert.ok(
      sizes.every((size) => size <= 65_536),
      sizes.join(),
    );
    const pieces: LoggedLine[] = [];
    for await (const one of readLog(path, { tail: 2, follow: false, signal: AbortSignal.abort() })) pieces.push(one);
    assert.deepEqual(
      pieces.map(({ more }) => more),
      [false, false],
    );
    assert.equal(pieces[1]?.text, 'last');
    const all: LoggedLine[] = [];
    for await (const one of readLog(path, { tail: 0, follow: false, signal: AbortSignal.abort() })) all.push(one);
    assert.ok(all.length > 2 && all.slice(0, -2).every(({ more }) => more));
  } finally {
    rmSync(directory, { recursive: true });
  }
});
