/** Needs root. A process that is captured and let go has noticed nothing, whatever went wrong meanwhile. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ComicranError } from '../../src/base/errors.ts';
import { CAPTURE_FAULTS, type CaptureFault } from '../../src/checkpoint/faults.ts';
import { listThreads, readProc, readStatus } from '../../src/linux/procfs.ts';
import { needs } from '../support/needs.ts';
import { NODE, PYTHON, program } from './support/cage.ts';
import { open, Resident } from './support/engine.ts';

const skip = needs('root', 'unshare', 'nsenter', 'python3', 'ip');
const PORT = 7103;

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Nothing of the engine's is left in a process. */
function assertUntouched(pid: number, maps?: string): void {
  for (const tid of listThreads(pid)) {
    const status = readStatus(pid, tid);
    assert.equal(status.number('TracerPid'), 0, `thread ${tid} is still traced`);
    assert.match(status.text('State'), /^[SRD]/, `thread ${tid} is stopped`);
  }
  if (maps !== undefined) assert.equal(readProc(pid, 'maps'), maps);
}

test('20 captures of a Node server under load', { skip }, async () => {
  await using server = await Resident.start([NODE, program('app.cjs'), String(PORT)]);
  await server.cage.askUntilAnswered(PORT, '2');
  const expected = server.cage.ask(PORT, 'check', 15_000);
  using source = open(server.pid);
  const threads = listThreads(server.pid).length;
  let count = 2;
  for (let round = 1; round <= 20; round++) {
    const before = Number(server.cage.ask(PORT, 'ticks'));
    const frozen = source.freeze();
    if (round % 2 === 0) frozen.holdStopped();
    await pause(round % 3);
    frozen.resume();
    count += 2;
    assert.equal(server.cage.ask(PORT, '3'), `9 ${count}`);
    assert.equal(listThreads(server.pid).length, threads);
    await pause(45);
    assert.ok(Number(server.cage.ask(PORT, 'ticks')) > before, 'its timer goes on');
    count++;
  }
  assertUntouched(server.pid);
  assert.equal(server.cage.ask(PORT, 'check', 15_000), expected);
});

describe('a failure in the middle of a capture', { skip }, async () => {
  for (const point of CAPTURE_FAULTS)
    test(point, async () => {
      await using resident = await Resident.start([PYTHON, program('repl.py'), String(PORT)]);
      const { cage, pid } = resident;
      await cage.askUntilAnswered(PORT, '1');
      // A wait that returns EINTR if anybody notices, three threads that count, and a blocked signal.
      const prepare = [
        'import select',
        'poller = select.epoll()',
        'ticks = [0, 0, 0]',
        'def tick(index):\n while True:\n  ticks[index] += 1\n  time.sleep(0.001)',
        'for i in range(3): background(str(i), lambda i=i: tick(i))',
        'event = (ctypes.c_char * 12)()',
        'background("wait", lambda: c("epoll_wait", poller.fileno(), event, 1, 600))',
      ].join('\n');
      assert.equal(cage.ask(PORT, prepare), 'None');
      const maps = readProc(pid, 'maps');
      const failure = new ComicranError('process.trace', 'as the test wants it');
      const reached: CaptureFault[] = [];
      const reach = (at: CaptureFault): void => {
        reached.push(at);
        if (at === point) throw failure;
      };
      assert.throws(() => {
        using source = open(pid, { faults: { reach } });
        source.freeze();
      }, failure);
      assert.equal(reached.at(-1), point);
      assertUntouched(pid, maps);
      const ticks = cage.ask(PORT, 'ticks');
      await pause(20);
      assert.notEqual(cage.ask(PORT, 'ticks'), ticks);
      for (let tries = 0; tries < 30 && cage.ask(PORT, '"wait" in results') === 'False'; tries++) await pause(50);
      assert.equal(cage.ask(PORT, 'results["wait"][0]'), '0');
    });
});
