/** Needs root. What is built of a sketch, while the process still runs, becomes the process as it was when it was stopped. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { decodeProcessImage, encodeProcessImage } from '../../src/image/codec.ts';
import type { ProcessImage } from '../../src/image/types.ts';
import { listThreads } from '../../src/linux/procfs.ts';
import { beginSketched, type SketchedProcess } from '../../src/restore/sketched-process.ts';
import { needs } from '../support/needs.ts';
import { Cage, PYTHON, program } from './support/cage.ts';
import { describeProcess } from './support/describe.ts';
import { facts, files, open, Resident, readAllPages, untilStopped } from './support/engine.ts';

const skip = needs('root', 'unshare', 'nsenter', 'python3', 'ip');
const PORT = 7103;

const PREPARE = [
  'import fcntl, mmap, select',
  'gate = threading.Event()',
  'for i in range(3): background(f"waiter {i}", gate.wait)',
  'area = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)',
  'area[4096:4101] = b"hello"',
  'readable, writable = os.pipe()',
  'counter = c("eventfd", 3, 0o4000)',
  'poll = select.epoll()',
  'poll.register(readable, select.EPOLLIN)',
].join('\n');

describe('what is built of a sketch', { skip }, () => {
  let resident: Resident;
  beforeEach(async () => {
    resident = await Resident.start([PYTHON, program('repl.py'), String(PORT)]);
    await resident.cage.askUntilAnswered(PORT, '1');
    assert.equal(ask(PREPARE), 'None');
  });
  afterEach(async () => {
    await resident[Symbol.asyncDispose]();
  });
  const ask = (text: string): string => resident.cage.ask(PORT, text, 5000) ?? 'no answer';

  /**
   * Moves the process with a sketch from before `change`.
   * @param isUsed whether what is built of the sketch can be used. @param threads it has so many then; 0: it is not looked at
   */
  async function move(
    change: string,
    isUsed: boolean,
    { sketchOf = (sketch: Uint8Array): Uint8Array => sketch, threads = 0 } = {},
  ): Promise<void> {
    const next = await Cage.make();
    let sketched: SketchedProcess | undefined;
    try {
      const hatchery = await next.hatchery();
      using source = open(resident.pid);
      sketched = beginSketched(sketchOf(source.sketch()), hatchery, { facts, files });
      assert.equal(ask(change), 'None', 'the process runs on');
      while (threads > 0 && listThreads(resident.pid).length !== threads)
        await new Promise((resolve) => setTimeout(resolve, 1));
      const frozen = source.freeze();
      const changing = decodeProcessImage(frozen.image).threads.map(({ rseq }) => rseq);
      const before = describeProcess(resident.pid, changing);
      const built = sketched.become(frozen.image);
      assert.equal(built === sketched.process, isUsed);
      built.writePages(frozen.pages, readAllPages(frozen));
      built.finish();
      await untilStopped(built.pid);
      assert.deepEqual(describeProcess(built.pid, changing), before);
      frozen.kill();
      built.run();
      await resident.cage.remove();
      resident.cage = next;
      resident.pid = built.pid;
    } catch (error) {
      // A process that is traced does not end before its tracer has heard of it.
      sketched?.discard();
      await next.remove();
      throw error;
    }
  }

  test('is the process, where nothing has changed', async () => {
    await move('pass', true);
    assert.equal(ask('area[4096:4101], len(threading.enumerate())'), "(b'hello', 4)");
  });

  test('has the areas that have come, gone and changed meanwhile', async () => {
    await move(
      [
        'second = mmap.mmap(-1, 1 << 21, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)',
        'second[0:5] = b"world"',
        'area.madvise(mmap.MADV_DONTFORK, 0, 1 << 19)',
        'with open(sys.executable, "rb") as file: third = mmap.mmap(file.fileno(), 8192, prot=mmap.PROT_READ)',
        'grown = bytearray(b"x" * (8 << 20))',
      ].join('\n'),
      true,
    );
    assert.equal(ask('area[4096:4101], second[0:5], third[1:4], len(grown)'), "(b'hello', b'world', b'ELF', 8388608)");
  });

  test('has what has come into its pipes and counters', async () => {
    await move('os.write(writable, b"abc"); os.read(counter, 8); os.write(counter, (5).to_bytes(8, "little"))', true);
    assert.equal(ask('[number == readable for number, _ in poll.poll(0)]'), '[True]');
    assert.equal(ask('os.read(readable, 9), os.read(counter, 8)[0]'), "(b'abc', 5)");
  });

  test('has the descriptors that were opened, closed and set meanwhile, its sockets at their addresses', async () => {
    await move(
      [
        'more = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]',
        'more[0].bind(("127.0.0.1", 7199))',
        'poll.unregister(readable); poll.register(more[0], select.EPOLLOUT)',
        'os.close(readable)',
        'source = open("/usr/bin/env", "rb"); source.seek(1)',
        'server.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)',
      ].join('\n'),
      true,
    );
    assert.equal(ask('more[0].getsockname(), source.read(3)'), "(('127.0.0.1', 7199), b'ELF')");
    assert.equal(ask('server.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)'), '1');
  });

  test('has signal actions, masks, directory and umask, of which a sketch knows nothing', async () => {
    await move(
      [
        'signal.signal(signal.SIGUSR1, lambda *_: results.__setitem__("usr1", True))',
        'signal.signal(signal.SIGPIPE, signal.SIG_DFL)',
        'signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])',
        'os.chdir("/usr"); os.umask(0o027)',
      ].join('\n'),
      true,
    );
    ask('os.kill(os.getpid(), signal.SIGUSR1)');
    assert.equal(ask('results["usr1"], os.getcwd(), oct(os.umask(0))'), "(True, '/usr', '0o27')");
  });

  test('is not used where a thread has come, and leaves nothing in the way of the one that is made instead', async () => {
    await move('background("late", gate.wait)', false);
    assert.equal(ask('len(threading.enumerate())'), '5');
  });

  test('is not used where one has gone', async () => {
    assert.equal(ask('other = threading.Event(); background("short", other.wait)'), 'None');
    await move('other.set()', false, { threads: 4 });
    assert.equal(ask('len(threading.enumerate())'), '4');
  });

  test('may be without descriptors', async () => {
    const without = (sketch: Uint8Array): Uint8Array => {
      const image: ProcessImage = decodeProcessImage(sketch);
      const none = { descriptors: [], descriptions: [], pipes: [], carriedFiles: [] };
      return encodeProcessImage({ ...image, descriptors: none });
    };
    await move('written = os.write(writable, b"abc")', true, { sketchOf: without });
    assert.equal(ask('os.read(readable, 9)'), "b'abc'");
  });

  test('leaves nothing when it is discarded', async () => {
    await using next = await Cage.make();
    const hatchery = await next.hatchery();
    using source = open(resident.pid);
    for (let times = 0; times < 2; times++) {
      const sketched = beginSketched(source.sketch(), hatchery, { facts, files });
      sketched.discard();
      sketched.discard();
    }
    assert.equal(ask('count > 1'), 'True');
  });
});
