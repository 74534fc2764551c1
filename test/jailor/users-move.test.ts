/** What the users of a sandbox have and may, before and after a move to another sandbox. Needs root. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FullConfig, SecuritySpec, UserSpec } from '../../src/base/sandbox-config.ts';
import type { FrozenSource } from '../../src/checkpoint/frozen.ts';
import { openSource } from '../../src/checkpoint/source.ts';
import { decodeProcessImage, encodeProcessImage } from '../../src/image/codec.ts';
import type { ProcessImage } from '../../src/image/types.ts';
import { idMapsOf, rootOf } from '../../src/jailor/ids.ts';
import { type ControlClient, forgetSandbox, sandboxPaths, startSandbox } from '../../src/jailor/index.ts';
import { probeKernel } from '../../src/linux/kernel-facts.ts';
import { readClockOffsets } from '../../src/linux/time-namespace.ts';
import { beginRestore } from '../../src/restore/begin-restore.ts';
import type { RestoringProcess } from '../../src/restore/restoring.ts';
import { fileEntry, inVm, needs, testConfig } from './support.ts';

const PERL = '/usr/bin/perl';
const PROGRAM = join(import.meta.dirname, 'users-move.pl');
const missing = needs !== false ? needs : existsSync(PERL) ? false : `needs ${PERL}`;
const ID = 'jailtest';
const HATCHERY_PID = 31_000;
const PATIENCE_MS = 10_000;
const TOLERANCE_NANOS = 1_000_000_000n;

function libraries(): string[] {
  return [...execFileSync('ldd', [PERL], { encoding: 'utf8' }).matchAll(/(\/[^ ]+) \(0x/g)].map((match) => match[1]!);
}

describe('users that move', { skip: missing, timeout: 120_000 }, () => {
  const state = inVm();
  const facts = probeKernel();

  let sandbox: ControlClient | undefined;
  afterEach(async () => {
    if (sandbox?.state.phase !== 'exited') await sandbox?.terminate({ graceMs: 0 }).catch(() => undefined);
    sandbox?.close();
    sandbox = undefined;
    await forgetSandbox(state.path, ID);
  });

  function config(user?: UserSpec, security?: Partial<SecuritySpec>): FullConfig {
    const process = { executable: PERL, arguments: ['/probe.pl'], environment: {}, workingDirectory: '/' };
    return testConfig({
      id: ID,
      change: {
        process: user === undefined ? process : { ...process, user },
        files: [
          ...[PERL, ...libraries()].map((path) => fileEntry(path)),
          { ...fileEntry(PROGRAM, 0o644), path: '/probe.pl' },
        ],
        symlinks: [],
        ...(security === undefined ? {} : { security: { capabilities: [], systemCalls: [], ...security } }),
      },
    });
  }

  /** Everything that the process has said in this sandbox. */
  async function said(count: number): Promise<string[]> {
    const { log } = sandboxPaths(state.path, ID);
    for (let waitedMs = 0; ; waitedMs += 5) {
      const lines = existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n') : [];
      const told = lines.filter((line) => line !== '').map((line) => JSON.parse(line).line as string);
      if (told.length >= count) return told;
      assert.ok(waitedMs < PATIENCE_MS, `${told.length} lines instead of ${count}: ${told.join('; ')}`);
      await sleep(5);
    }
  }
  const ask = (pid: number): void => writeFileSync(`/proc/${pid}/root/tmp/in`, 'x\n', { flag: 'r+' });

  async function start(from: FullConfig): Promise<number> {
    sandbox = await startSandbox({ stateDirectory: state.path, config: from });
    assert.deepEqual(await said(1), ['ready']);
    return sandbox.state.process!.pid;
  }
  function freeze(pid: number): FrozenSource {
    const { stdio, init } = sandbox!.state;
    const inherited = Object.entries(stdio!).map(([name, inode]) => ({ name, inode }));
    return openSource(pid, { facts, inherited, sandboxInit: init!.pid }).freeze();
  }
  /** Ends the process where it is, and builds it again in a skeleton, which takes the place of its sandbox. */
  async function rebuild(
    frozen: FrozenSource,
    to: FullConfig,
    change: (image: ProcessImage) => ProcessImage = (image) => image,
  ): Promise<RestoringProcess> {
    const image = encodeProcessImage(change(decodeProcessImage(Buffer.from(frozen.image))));
    const pages = Buffer.alloc(frozen.pages.reduce((sum, { length }) => sum + length, 0));
    frozen.readPages(frozen.pages, pages);
    const ended = sandbox!.waitFor(({ phase }) => phase === 'exited');
    frozen.kill();
    await ended;
    sandbox!.close();
    await forgetSandbox(state.path, ID);
    sandbox = await startSandbox({ stateDirectory: state.path, config: to, skeleton: { hatcheryPid: HATCHERY_PID } });
    const restoring = beginRestore(image, sandbox.state.hatchery!.pid, { facts });
    restoring.writePages(frozen.pages, pages);
    restoring.finish();
    return restoring;
  }

  for (const [name, user] of [
    ['root', undefined],
    ['a user', { uid: 33, gid: 44, groups: [55, 4711] }],
  ] as const)
    test(`${name} inside has after it what it had before`, async () => {
      const from = config(user);
      const pid = await start(from);
      ask(pid);
      const before = (await said(2))[1]!;
      const [uid, gid] = [user?.uid ?? 0, user?.gid ?? 0];
      const own = `${uid}:${gid}`;
      const status = [`Uid: ${Array(4).fill(uid).join(' ')}`, `Gid: ${Array(4).fill(gid).join(' ')}`];
      const groups = ['Groups:', ...(user?.groups ?? [])].join(' ');
      const things = [`directory ${own}`, `file ${own} opens`, `gone ${own}`, `fifo ${own} opens`];
      const expected = [...status, groups, 'CapEff: 0000000000000000', /VmLck: [1-9]\d* kB/.exec(before)?.[0]];
      assert.equal(before, [...expected, ...things, `stdout ${own} opens`, 'again opens'].join(', '));

      const restoring = await rebuild(freeze(pid), from);
      await sandbox!.adopt(restoring.pid);
      restoring.run();
      ask(restoring.pid);
      assert.equal((await said(1))[0], before);
      const { uid: first } = rootOf(idMapsOf(from));
      for (const path of ['private', 'private/out', 'private/file'])
        assert.equal(statSync(`/proc/${restoring.pid}/root/tmp/${path}`).uid, first + uid, path);
    });

  test('clocks go on where those of the destination stand elsewhere', async () => {
    const pid = await start(config());
    const ahead = 1_000_000_000_000n;
    const restoring = await rebuild(freeze(pid), config(), ({ platform, ...rest }) => ({
      ...rest,
      platform: {
        ...platform,
        monotonicNanos: platform.monotonicNanos + ahead,
        boottimeNanos: platform.boottimeNanos + ahead,
      },
    }));
    await sandbox!.adopt(restoring.pid);
    const isAhead = (of: number): void => {
      const difference = readClockOffsets(of).monotonicNanos - ahead;
      // Clocks are read one after the other, and stepped by who keeps the time.
      assert.ok(difference > -TOLERANCE_NANOS && difference < TOLERANCE_NANOS, `${difference} ns`);
    };
    isAhead(restoring.pid);
    // And from there on again.
    restoring.run();
    const again = await rebuild(freeze(restoring.pid), config());
    await sandbox!.adopt(again.pid);
    isAhead(again.pid);
  });

  test('to a sandbox whose ids are others is refused, and nothing is left of it', async () => {
    for (const security of [{ userNamespace: false }, { firstId: 300_000 }]) {
      const pid = await start(config());
      const { uid } = rootOf(idMapsOf(config()));
      const other = security.firstId === undefined ? 'root of the machine' : `user ${security.firstId} of the machine`;
      await assert.rejects(() => rebuild(freeze(pid), config(undefined, security)), {
        code: 'process.unsupported',
        message: `root inside was user ${uid} of the machine at the source and is ${other} at the destination`,
      });
      await sandbox!.terminate({ graceMs: 0 });
      sandbox!.close();
      await forgetSandbox(state.path, ID);
    }
  });
});
