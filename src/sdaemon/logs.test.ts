import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { keepCarriedLog, type LoggedLine, logToCarry, MAX_CARRIED_BYTES, readLog } from './logs.ts';

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
