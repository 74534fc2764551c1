import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { makePipe } from '../linux/pipe.ts';
import { LineSplitter, type LogLine, LogWriter } from './log-writer.ts';

const lines = (path: string): LogLine[] =>
  readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

test('however bytes come in, the same lines come out', () => {
  const text = fc.array(fc.string({ unit: 'binary', maxLength: 12 }).map((line) => line.replaceAll('\n', ' ')));
  fc.assert(
    fc.property(text, fc.infiniteStream(fc.integer({ min: 1, max: 9 })), (wanted, sizes) => {
      const bytes = Buffer.from(wanted.map((line) => `${line}\n`).join(''));
      const found: string[] = [];
      const splitter = new LineSplitter(1_000);
      for (let at = 0; at < bytes.length; ) {
        const size = sizes.next().value;
        splitter.add(bytes.subarray(at, at + size), ({ line }) => found.push(line));
        at += size;
      }
      splitter.flush(() => assert.fail('nothing stands behind the last newline'));
      assert.deepEqual(
        found,
        wanted.map((line) => Buffer.from(line).toString()),
      );
    }),
  );
});

test('a line that is too long comes in pieces, the last one without `more`', () => {
  const found: object[] = [];
  const splitter = new LineSplitter(4);
  splitter.add(Buffer.from('abcdefghij\nk'), (piece) => found.push(piece));
  splitter.flush((piece) => found.push(piece));
  assert.deepEqual(found, [
    { line: 'abcd', more: true },
    { line: 'efgh', more: true },
    { line: 'ij', more: false },
    { line: 'k', more: false },
  ]);
});

describe('the log of a sandbox', () => {
  let directory = '';
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'comicran-log-'));
  });
  after(() => rmSync(directory, { recursive: true }));

  test('holds what comes out of a pipe until all its writers are gone', async () => {
    const path = join(directory, 'log');
    const log = new LogWriter(path, {}, () => 1_700_000_000_000_001);
    const [out, err] = [makePipe(), makePipe()];
    const followed = [log.follow('stdout', out.readFd), log.follow('stderr', err.readFd)];
    writeSync(out.writeFd, 'first\nsecond\nunfinished');
    writeSync(err.writeFd, 'trouble "quoted"\n');
    closeSync(out.writeFd);
    closeSync(err.writeFd);
    await Promise.all(followed.map(({ ended }) => ended));
    log.close();
    const t = 1_700_000_000_000_001;
    assert.deepEqual(
      lines(path).toSorted((a, b) => (a.stream < b.stream ? -1 : 1)),
      [
        { t, stream: 'stderr', line: 'trouble "quoted"' },
        { t, stream: 'stdout', line: 'first' },
        { t, stream: 'stdout', line: 'second' },
        { t, stream: 'stdout', line: 'unfinished' },
      ],
    );
  });

  test('a full file is moved aside, and the one before it goes', async () => {
    const path = join(directory, 'small');
    const log = new LogWriter(path, { maxFileBytes: 200 });
    const pipe = makePipe();
    const { ended } = log.follow('stdout', pipe.readFd);
    for (let n = 0; n < 20; n++) writeSync(pipe.writeFd, `line ${n}\n`);
    closeSync(pipe.writeFd);
    await ended;
    log.close();
    const kept = [...lines(`${path}.1`), ...lines(path)].map(({ line }) => line);
    assert.ok(kept.length < 20);
    assert.deepEqual(
      kept,
      Array.from({ length: kept.length }, (_, n) => `line ${20 - kept.length + n}`),
    );
    assert.ok(readFileSync(path).length <= 200 && readFileSync(`${path}.1`).length <= 200);
  });

  test('a process that prints nothing but ends of lines keeps jailor neither writing nor from other work', async () => {
    const log = new LogWriter(join(directory, 'ends'));
    const pipe = makePipe();
    const writeCalls = (): number => Number(/^syscw: (\d+)$/m.exec(readFileSync('/proc/self/io', 'latin1'))?.[1]);
    const count = 60_000;
    writeSync(pipe.writeFd, '\n'.repeat(count));
    closeSync(pipe.writeFd);
    const before = writeCalls();
    let turns = 0;
    let isOver = false;
    const turn = (): void => {
      turns++;
      if (!isOver) setImmediate(turn);
    };
    setImmediate(turn);
    await log.follow('stdout', pipe.readFd).ended;
    isOver = true;
    assert.ok(turns >= 10, `${turns} turns`);
    assert.ok(writeCalls() - before < count / 100);
    log.close();
    assert.equal(lines(join(directory, 'ends')).length, count);
  });

  test('a follower can be stopped while somebody still holds the pipe', async () => {
    const log = new LogWriter(join(directory, 'held'));
    const pipe = makePipe();
    const { ended, stop } = log.follow('stdout', pipe.readFd);
    stop();
    await ended;
    closeSync(pipe.writeFd);
    log.close();
  });
});
