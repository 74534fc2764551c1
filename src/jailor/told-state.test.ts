import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, mock, test } from 'node:test';
import { firstState } from './first-state.ts';
import type { SandboxState } from './state.ts';
import { ToldState } from './told-state.ts';

const FIRST = firstState(
  {
    config: {
      version: 1,
      id: 'square',
      process: { executable: '/bin/true', arguments: [], environment: {}, workingDirectory: '/' },
      network: { address: '10.88.0.5', ports: [] },
      files: [],
      symlinks: [],
      directories: [],
      writable: [],
    },
  },
  '/var/lib/comicran',
);

describe('a state whose file cannot be written', () => {
  let directory = '';
  const written = (): SandboxState => JSON.parse(readFileSync(join(directory, 'state.json'), 'utf8'));
  const noPlace = (): void => rmSync(directory, { recursive: true });

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'comicran-told-'));
    mock.timers.enable({ apis: ['setTimeout'] });
    mock.method(process.stderr, 'write', () => true);
  });
  afterEach(() => {
    mock.timers.reset();
    mock.restoreAll();
    rmSync(directory, { recursive: true, force: true });
  });

  test('does not begin', () => {
    noPlace();
    assert.throws(() => new ToldState(FIRST, join(directory, 'state.json')).become({}), { code: 'ENOENT' });
  });

  test('goes on all the same, everybody is told, and the file follows when it can', () => {
    const told = new ToldState(FIRST, join(directory, 'state.json'));
    told.become({});
    const heard: string[] = [];
    told.onState(({ phase }) => heard.push(phase));
    noPlace();
    told.become({ phase: 'running' });
    told.become({ phase: 'restarting' });
    assert.deepEqual(heard, ['running', 'restarting']);
    assert.equal(told.now.phase, 'restarting');
    mock.timers.tick(60_000);
    mkdirSync(directory);
    mock.timers.tick(60_000);
    assert.equal(written().phase, 'restarting');
  });

  test('is left alone once the sandbox has exited: the directory may be another one’s', () => {
    const told = new ToldState(FIRST, join(directory, 'state.json'));
    told.become({});
    noPlace();
    told.become({ phase: 'running' });
    told.note({ phase: 'exited' });
    mkdirSync(directory);
    mock.timers.tick(60_000);
    assert.throws(written, { code: 'ENOENT' });
  });
});
