/** Whatever fails on the way, and whoever is killed: nothing stays. Needs root. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { planSandbox } from '../../src/jailor/plan.ts';
import { leftBehind } from '../support/inventory.ts';
import type { Attempt } from './fail-everywhere.ts';
import { inVm, needs, PROGRAM, startForeground, takeSandboxInventory, testConfig } from './support.ts';

/** As few as run: every file is an operation, and every operation fails once. */
const NEEDED_BY_SH = /\/(sh|libc\.so\.6|ld-linux[^/]*)$/;

describe('a failure while a sandbox is made', { skip: needs, timeout: 180_000 }, () => {
  const state = inVm();

  for (const kind of ['run', 'skeleton'] as const) {
    test(`at every operation (${kind}): the error names it, and nothing is left`, () => {
      const config = testConfig({
        change: { files: testConfig({}).files.filter(({ path }) => NEEDED_BY_SH.test(path)) },
      });
      const configFile = join(state.path, `${kind}.json`);
      writeFileSync(configFile, JSON.stringify(config));
      const program = join(import.meta.dirname, 'fail-everywhere.ts');
      const text = execFileSync(process.execPath, [program, state.path, configFile, kind], { encoding: 'utf8' });
      const attempts = JSON.parse(text) as Attempt[];
      const skeleton = kind === 'skeleton' ? { skeleton: { hatcheryPid: 31_000 } } : {};
      assert.equal(
        attempts.length,
        planSandbox(config, { stateDirectory: state.path, stdio: 'inherit', ...skeleton }).length,
      );
      for (const { step, left, moved, code, message, cause } of attempts) {
        assert.deepEqual(left, [], `before: ${step}`);
        assert.equal(moved, false, `before: ${step}: jailor is where it was`);
        assert.equal(code, 'sandbox.setup-failed');
        assert.equal(message, `sandbox jailtest: could not ${step}`);
        assert.equal(cause, 'on purpose');
      }
    });
  }

  test('jailor killed at any moment: the next start of the id, or clean, removes what is left', async () => {
    mkdirSync(join(state.path, 'sandboxes'), { recursive: true });
    const look = () => takeSandboxInventory(state.path);
    const begun = look();
    for (let delayMs = 20; delayMs <= 160; delayMs += 10) {
      const killed = startForeground(state.path, testConfig({ script: 'exec sleep 1000' }));
      await sleep(delayMs);
      killed.child.kill('SIGKILL');
      await killed.finished;
      if (delayMs % 20 === 0) {
        const next = await startForeground(state.path, testConfig({ script: 'echo fine' })).finished;
        assert.deepEqual({ ...next, signal: null }, { code: 0, signal: null, stdout: 'fine\n', stderr: '' });
      } else {
        execFileSync(PROGRAM, ['jailor', 'clean', '--state', state.path]);
      }
      assert.deepEqual(leftBehind(begun, look()), [], `killed after ${delayMs} ms`);
    }
  });
});
