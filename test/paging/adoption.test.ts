/** Needs root. Killed fault services: the process waits, and a new one goes on without a wrong byte. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { type Cage, PYTHON } from '../engine/support/cage.ts';
import { needs } from '../support/needs.ts';
import { KeptProcess, type KillableService } from './support/killable-service.ts';
import { Moved, PagingLab } from './support/lazy-move.ts';

const skip = needs('root', 'unshare', 'nsenter', 'python3', 'ip');
const PORT = 7151;
const BLOCKS = 48;
const PAGES = [PYTHON, join(import.meta.dirname, 'programs/pages.py'), String(PORT), String(BLOCKS)];
const KILLS = 6;
/** A bound: how long the work takes depends on how busy the machine is. */
const LONG_S = 120;

/** Asks while this program goes on. */
async function ask(cage: Cage, message: string): Promise<string> {
  const script =
    'import socket,sys\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.settimeout(float(sys.argv[3]))\n' +
    's.sendto(sys.argv[2].encode(),("127.0.0.1",int(sys.argv[1])));print(s.recv(65536).decode())';
  const args = ['-t', String(cage.init), '-n', PYTHON, '-c', script, String(PORT), message, String(LONG_S)];
  return (await promisify(execFile)('nsenter', args)).stdout.trim();
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

for (const [what, work] of Object.entries({
  'that reads': 'some 6000',
  'that throws away, moves and writes its memory': 'calm 4000',
}))
  test(`a process ${what} does not notice that its fault service is killed again and again`, { skip }, async () => {
    await using lab = await PagingLab.make();
    await using moved = await Moved.make(PAGES, (cage) => cage.askUntilAnswered(PORT, 'pid'));
    const { server } = await lab.serve(moved.pid);
    const journal = lab.newJournal();
    const process = new KeptProcess(moved.copy, journal, server);
    try {
      let service: KillableService = process.start();
      await service.running;
      moved.copy.restoring.run();
      let busy = true;
      const working = ask(moved.to, work).finally(() => {
        busy = false;
      });
      for (let kills = 0; kills < KILLS; kills++) {
        await pause(Math.random() * 80);
        await service.kill();
        assert.ok(process.kept.has(journal) === existsSync(journal));
        if (!process.kept.has(journal)) break;
        service = process.start();
        await service.running;
      }
      assert.ok(busy || process.kept.size === 0, 'it was still at work');
      assert.equal(await working, '0');
      assert.equal(await ask(moved.to, 'check'), '0');
      await service.done;
      assert.equal(process.kept.size, 0);
      assert.equal(await ask(moved.to, 'check'), '0');
    } finally {
      process.close();
    }
  });

test('while nobody serves it the process waits, its children too', { skip }, async () => {
  await using lab = await PagingLab.make();
  await using moved = await Moved.make(PAGES, (cage) => cage.askUntilAnswered(PORT, 'pid'));
  const { server } = await lab.serve(moved.pid);
  const process = new KeptProcess(moved.copy, lab.newJournal(), server);
  try {
    const first = process.start({ confirmsChildren: false });
    await first.running;
    moved.copy.restoring.run();
    let answered = false;
    const child = ask(moved.to, 'child').finally(() => {
      answered = true;
    });
    while (process.kept.size < 2) await pause(1);
    await first.kill();
    await pause(300);
    assert.equal(answered, false);
    const second = process.start();
    assert.equal(await child, '0');
    await second.done;
    assert.equal(await ask(moved.to, 'check'), '0');
  } finally {
    process.close();
  }
});
