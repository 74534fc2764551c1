/** A state directory whose disk is full: sandboxes there go on, and are looked after as always. Needs root. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { forgetSandbox, readSandboxState, sandboxPaths, startSandbox } from '../../src/jailor/index.ts';
import { LogFile } from '../../src/jailor/log-file.ts';
import { isAlive } from '../../src/linux/process-identity.ts';
import { inVm, leavesNothing, needs, testConfig } from './support.ts';

const ID = 'jailtest';

describe('a full disk', { skip: needs, timeout: 120_000 }, () => {
  const state = inVm();
  let disk = '';

  beforeEach(() => {
    disk = join(state.path, 'disk');
    mkdirSync(disk, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m,mode=755', 'tmpfs', disk]);
  });
  leavesNothing(state);
  afterEach(() => execFileSync('umount', [disk]));

  /** @returns what makes room again. */
  function fill(): () => void {
    const path = join(disk, 'filling');
    const fd = openSync(path, 'w');
    assert.throws(
      () => {
        for (;;) writeSync(fd, Buffer.alloc(4096));
      },
      { code: 'ENOSPC' },
    );
    closeSync(fd);
    return () => rmSync(path);
  }

  const entries = (path: string): { line?: string; n?: number }[] =>
    readFileSync(path, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((text) => JSON.parse(text));

  test('a sandbox is started, frozen, let run and ended; state and log follow when there is room', async () => {
    const config = testConfig({ script: 'while :; do echo line; sleep 0.01; done' });
    const client = await startSandbox({ stateDirectory: disk, config, created: true });
    const { jailor } = client.state;
    const log = (): string[] => entries(sandboxPaths(disk, ID).log).map(({ line = '' }) => line);
    let makeRoom = fill();
    assert.equal((await client.run()).phase, 'running');
    assert.equal((await client.freeze()).frozen, true);
    assert.equal((await client.thaw()).frozen, false);
    assert.equal(readSandboxState(disk, ID).phase, 'created');
    makeRoom();
    while (readSandboxState(disk, ID).phase !== 'running') await sleep(5);
    // Beginning with the room that was left in the file.
    while (!log().some((line) => /^[0-9]+ lines could not be written$/.test(line))) {
      makeRoom = fill();
      await sleep(50);
      makeRoom();
      await sleep(50);
    }
    const { exit } = await client.terminate({ graceMs: 10_000 });
    assert.deepEqual(exit, { reason: 'terminated', code: null, signal: 'SIGTERM' });
    while (isAlive(jailor)) await sleep(5);
    assert.deepEqual(readSandboxState(disk, ID).exit, exit);
    await forgetSandbox(disk, ID);
  });

  test('one is ended while there is no room, too', async () => {
    const client = await startSandbox({ stateDirectory: disk, config: testConfig({ script: 'sleep 1000' }) });
    const { jailor } = client.state;
    const makeRoom = fill();
    assert.equal((await client.terminate({ graceMs: 10_000 })).exit?.signal, 'SIGTERM');
    while (isAlive(jailor)) await sleep(5);
    makeRoom();
    await forgetSandbox(disk, ID);
  });

  test('a line that had no room is completed before the next one', () => {
    const path = join(disk, 'log');
    const file = new LogFile(path, { maxFileBytes: 1e9, files: 2 });
    const of = (begin: number, count: number): object[] => Array.from({ length: count }, (_, n) => ({ n: begin + n }));
    file.append(of(0, 100));
    const makeRoom = fill();
    // More than the last page has room for.
    const appended = file.append(of(100, 1000));
    assert.ok(appended > 0 && appended < 1000);
    assert.equal(file.append(of(5000, 1)), 0);
    makeRoom();
    assert.equal(file.append(of(100 + appended, 10)), 10);
    file.close();
    assert.deepEqual(
      entries(path).map(({ n }) => n),
      of(0, 110 + appended).map((_, n) => n),
    );
    rmSync(path);
  });
});
