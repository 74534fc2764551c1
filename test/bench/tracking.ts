/**
 * How long a process with much memory stands still for a snapshot when its memory has been copied beforehand, and what the
 * tracking costs it. The engine alone, on this machine and without a network.
 */
import { summarise } from '../../src/base/stats.ts';
import { ProcessMemory } from '../../src/linux/memory.ts';
import { listAreas } from '../../src/paging/tracking/areas.ts';
import { iterate } from '../../src/paging/tracking/rounds.ts';
import { openTracker, type Round, type WriteTracker } from '../../src/paging/tracking/write-tracker.ts';
import { Rehearsal } from '../../src/sdaemon/migration/rehearsal.ts';
import { warmEngine } from '../../src/sdaemon/migration/warm-engine.ts';
import { PYTHON, program } from '../engine/support/cage.ts';
import { facts, files, open, Resident } from '../engine/support/engine.ts';
import type { Figure } from './figure.ts';

const PORT = 7196;
const WARM_ROUNDS = 10;
const ROUNDS = 30;
const WRITTEN_PAGES = 1000;
/** Of the curve. */
const SIZES_MB = [16, 64, 256, 1024, 4096];
const CURVE_ROUNDS = 8;
const CHUNK_BYTES = 1 << 20;

/** Small pages, and functions that write to them: now, or all the time at a rate. */
const SETUP = (megabytes: number): string => `
import mmap, random, threading, time
memory = mmap.mmap(-1, ${megabytes} << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
def touch():
    for at in range(0, len(memory), 4096): memory[at] = 1
def scribble(count):
    for _ in range(count): memory[random.randrange(len(memory))] = random.randrange(256)
def keep_scribbling():
    while True:
        scribble(4)
        time.sleep(0.002)
touch()
`;

class Subject {
  readonly resident: Resident;
  readonly #buffer = Buffer.alloc(CHUNK_BYTES, 1);

  private constructor(resident: Resident) {
    this.resident = resident;
  }

  static async start(megabytes: number): Promise<Subject> {
    const subject = new Subject(await Resident.start([PYTHON, program('repl.py'), String(PORT)]));
    await subject.resident.cage.askUntilAnswered(PORT, '1');
    subject.tell(SETUP(megabytes), 30_000);
    return subject;
  }

  tell(text: string, timeoutMs = 5000): void {
    if (this.resident.cage.ask(PORT, text, timeoutMs) === null) throw new Error('the process does not answer');
  }

  /** Writes to pages of its large area in its place, as it would take too long to be told. */
  writeTo(pages: number): void {
    const { pid } = this.resident;
    const area = listAreas(pid).reduce((largest, next) =>
      next.end - next.start > largest.end - largest.start ? next : largest,
    );
    const memory = new ProcessMemory(pid);
    const bytes = Buffer.from([7]);
    for (let count = 0; count < pages; count++)
      memory.write(BigInt(area.start + Math.floor(Math.random() * (area.end - area.start))), bytes);
    memory.close();
  }

  /** Reads what a round tells, as a sender would. */
  copy(tracker: WriteTracker, { written }: Round): void {
    for (const { start, length } of written)
      for (let done = 0; done < length; done += CHUNK_BYTES) {
        const part = Math.min(CHUNK_BYTES, length - done);
        tracker.read([{ start: start + BigInt(done), length: part }], this.#buffer.subarray(0, part));
      }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.resident[Symbol.asyncDispose]();
  }
}

/**
 * Times of snapshots in milliseconds.
 *
 * @param before makes the process such as it is to be for each, and `afterwards` does so when there will be no more rounds.
 */
async function freezes(
  subject: Subject,
  rounds: number,
  before: (tracker: WriteTracker) => void | Promise<void>,
  afterwards: () => void = () => undefined,
): Promise<{ freezes: number[]; pages: number }> {
  const { pid } = subject.resident;
  // As a migration does.
  using rehearsal = Rehearsal.start(facts, files);
  using source = open(pid, { rehearse: rehearsal.run });
  using tracker = openTracker(pid, { facts, inStop: (run) => source.inStop(run) });
  subject.copy(tracker, tracker.next());
  const millis: number[] = [];
  let pages = 0;
  for (let round = 0; round < WARM_ROUNDS + rounds; round++) {
    await before(tracker);
    let inStop = 0;
    const last: WriteTracker['last'] = (areas) => {
      const found = tracker.last(areas);
      inStop = found.bytesInStop / 4096;
      return found;
    };
    const prepare = (): void => {
      tracker.prepare();
      afterwards();
    };
    const snapshot = source.snapshot({ copied: { prepare, last } });
    if (round < WARM_ROUNDS) continue;
    millis.push(snapshot.freezeMicros / 1000);
    pages += inStop;
  }
  return { freezes: millis, pages: Math.round(pages / rounds) };
}

async function largeMemory(): Promise<Figure[]> {
  await using subject = await Subject.start(1024);
  const copy = (tracker: WriteTracker): void => subject.copy(tracker, tracker.next());
  const written = await freezes(subject, ROUNDS, copy, () => subject.writeTo(WRITTEN_PAGES));
  subject.tell('threading.Thread(target=keep_scribbling, daemon=True).start()');
  const iterated = await freezes(subject, ROUNDS, async (tracker) => {
    await iterate(tracker, { maxRounds: 8, untilPages: 50, onRound: (round) => subject.copy(tracker, round) });
  });
  return [
    {
      name: `freeze, 1 GB, ${written.pages} pages copied in it`,
      unit: 'ms',
      summary: summarise(written.freezes),
      ...{ medianBar: 8, minBar: 5, aim: '1' },
    },
    {
      name: `freeze, 1 GB, iterated, ${iterated.pages} pages copied in it`,
      unit: 'ms',
      summary: summarise(iterated.freezes),
      ...{ medianBar: 3, aim: '1' },
    },
  ];
}

async function curve(): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const megabytes of SIZES_MB) {
    await using subject = await Subject.start(megabytes);
    const { freezes: millis } = await freezes(subject, CURVE_ROUNDS, (tracker) => {
      for (let round = 0; round < 2; round++) subject.copy(tracker, tracker.next());
    });
    figures.push({ name: `freeze, ${megabytes} MB, iterated`, unit: 'ms', summary: summarise(millis) });
  }
  return figures;
}

export async function trackingFigures(): Promise<Figure[]> {
  warmEngine(facts, files);
  return [...(await largeMemory()), ...(await curve())];
}
