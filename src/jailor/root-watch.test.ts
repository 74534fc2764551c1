import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Child, Ending } from './child.ts';
import type { Newcomers } from './newcomers.ts';
import { RootWatch } from './root-watch.ts';
import type { Sandbox } from './sandbox.ts';

const KILLED: Ending = { code: null, signal: 'SIGKILL' };

test('out of memory is said of the process that was killed for it, however early, and not of the next one', async () => {
  const cgroup = mkdtempSync(join(tmpdir(), 'comicran-watch-'));
  try {
    const kills = (count: number): void => writeFileSync(join(cgroup, 'memory.events'), `oom 0\noom_kill ${count}\n`);
    const reasons: string[] = [];
    const sandbox = { config: {}, state: { cgroup: { paths: [cgroup] } } } as unknown as Sandbox;
    const watch = new RootWatch(sandbox, {} as Newcomers, async ({ reason }) => void reasons.push(reason));
    const ends = async (ending: Ending): Promise<void> => {
      const root = { hostPid: 7, ended: Promise.resolve(ending) } as unknown as Child;
      watch.begin(root);
      await new Promise(setImmediate);
    };
    // Before anybody watched it.
    kills(1);
    await ends(KILLED);
    await ends(KILLED);
    kills(2);
    await ends({ code: 0, signal: null });
    await ends(KILLED);
    kills(3);
    await ends(KILLED);
    assert.deepEqual(reasons, ['out-of-memory', 'ended', 'ended', 'ended', 'out-of-memory']);
  } finally {
    rmSync(cgroup, { recursive: true });
  }
});
