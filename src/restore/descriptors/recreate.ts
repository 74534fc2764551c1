/**
 * Recreates a descriptor table in a new process.
 *
 *     1  files that travel with the image are put into the sandbox             outside
 *     2  every open file description is made, at whatever number               inside
 *     3  each gets its state, through a copy in this program                   outside
 *     4  all of them wait at numbers that nobody wants; epoll items that
 *        need a number for a moment are added; then each goes to its numbers,
 *        everything else is closed, the other epoll items are added            inside
 *
 * Calls inside the process are collected and made in a few stops. On failure the process is left with descriptors of any
 * kind: it is to be ended. Files that were put into the sandbox stay, those under temporary names do not.
 */
import { posix } from 'node:path';
import { assert, defined } from '../../base/assert.ts';
import { ComicranError, messageOf } from '../../base/errors.ts';
import type { DescriptorTableImage } from '../../image/descriptors/types.ts';
import { encodeLock, F_SETLK } from '../../linux/advisory-locks.ts';
import { DescriptorDirectory } from '../../linux/descriptor-directory.ts';
import type { IdMaps } from '../../linux/id-map.ts';
import { O } from '../../linux/open-flags.ts';
import { closeDescriptor } from '../../linux/pidfd.ts';
import { RootDirectory } from '../../linux/root-directory.ts';
import { SYS } from '../../linux/syscall-numbers.ts';
import { configureDescriptions } from './configuration.ts';
import { Copies, type RecreateContext, restoreError, type Subject, step } from './context.ts';
import { type Created, createDescriptions } from './creation.ts';
import { EpollAssembly, planEpoll } from './epoll.ts';
import { isOfProcess, namelessFiles, type PlacedFile, placeCarriedFile, placeWritten } from './files.ts';
import { OWN } from './owners.ts';
import { endsOf, prepareFifo } from './pipes.ts';
import { rangesToClose, waitingNumbers } from './placement.ts';
import { RemoteCalls } from './remote-calls.ts';

/**
 * When it returns, the process has the descriptors of the image and no others. Its RLIMIT_NOFILE must allow their numbers
 * and as many again, and it must still be privileged.
 *
 * @throws ComicranError process.unsupported, naming the descriptor that cannot be recreated here.
 */
export function recreateDescriptors(context: RecreateContext, table: DescriptorTableImage): void {
  const { pid } = context.tracee.process;
  const calls = new RemoteCalls(context.tracee);
  const subjects = subjectsOf(table);
  const { ids, maker } = context.owners ?? OWN;
  using root = new RootDirectory(pid, maker);
  using copies = new Copies(pid);
  using files = new PlacedFiles(root, ids);
  files.place(table, subjects);
  const created = createDescriptions(context, table, calls, subjects, files.paths);
  configureDescriptions(table, created, copies, subjects, root, ids);
  assemble(table, created, calls, copies, subjects);
  checkNumbers(pid, table);
}

/** Puts the files there that travel with a table, where its descriptors are there and none of them is of such a file. */
export function placeCarriedFiles({ tracee, owners = OWN }: RecreateContext, table: DescriptorTableImage): void {
  if (table.carriedFiles.length === 0) return;
  using root = new RootDirectory(tracee.process.pid, owners.maker);
  using files = new PlacedFiles(root, owners.ids);
  files.place(table, subjectsOf(table));
}

function subjectsOf({ descriptors, descriptions }: DescriptorTableImage): Subject[] {
  const first = new Map<number, number>();
  for (const { number, description } of descriptors.toReversed()) first.set(description, number);
  return descriptions.map((_, index) => ({ number: defined(first.get(index), 'a descriptor of the description') }));
}

/** Carried files and FIFOs in the sandbox. What was needed only until the process had opened it goes with this. */
class PlacedFiles {
  /** Where descriptions with a carried file are opened, by index. */
  readonly paths = new Map<number, { readonly path: string } | { readonly like: number }>();
  readonly #root: RootDirectory;
  readonly #ids: IdMaps;
  readonly #placed: PlacedFile[] = [];
  readonly #held: number[] = [];

  constructor(root: RootDirectory, ids: IdMaps) {
    this.#root = root;
    this.#ids = ids;
  }

  #placeWritten({ descriptions, carriedFiles }: DescriptorTableImage): void {
    const open = new Set(descriptions.map((image) => (image.kind === 'file' ? image.carried : null)));
    for (const [index, file] of carriedFiles.entries()) {
      if (open.has(index)) continue;
      try {
        placeWritten(this.#root, file, index, this.#ids);
      } catch (cause) {
        const why = `what the process has written at ${file.path} cannot be put there: ${messageOf(cause)}`;
        throw new ComicranError('process.unsupported', why, { cause });
      }
    }
  }

  place(table: DescriptorTableImage, subjects: readonly Subject[]): void {
    const nameless = namelessFiles(table);
    this.#placeWritten(table);
    for (const [index, image] of table.descriptions.entries()) {
      if (image.kind !== 'file' || image.carried === null) continue;
      const { carried } = image;
      const file = defined(table.carriedFiles[carried], 'a carried file');
      const maker = nameless.get(carried);
      if (maker !== undefined) {
        this.paths.set(index, maker === index ? { path: posix.dirname(file.path) } : { like: maker });
        continue;
      }
      this.#placed[carried] ??= step(subjects[index]!, `write ${file.path}`, () =>
        placeCarriedFile(this.#root, file, carried, this.#ids),
      );
      this.paths.set(index, this.#placed[carried]);
    }
    for (const [pipe, { path }] of table.pipes.entries()) {
      if (path === null) continue;
      const ends = endsOf(table.descriptions, pipe);
      const subject = subjects[defined(ends[0], 'an end of the FIFO').index]!;
      const reader = step(subject, `make the FIFO ${path}`, () => prepareFifo(this.#root, path, ends));
      if (reader !== null) this.#held.push(reader);
    }
  }

  [Symbol.dispose](): void {
    for (const held of this.#held) closeDescriptor(held);
    // An array with holes where the process has no description of a carried file.
    for (const file of this.#placed) if (file?.temporary) this.#root.remove(file.path);
  }
}

/** Step 4. */
function assemble(
  table: DescriptorTableImage,
  { numbers }: Created,
  calls: RemoteCalls,
  copies: Copies,
  subjects: readonly Subject[],
): void {
  const { descriptors, descriptions } = table;
  const plan = planEpoll(table);
  const epoll = new EpollAssembly(calls, subjects);
  const momentary = [...plan.stale, ...plan.disarmed].map(({ number }) => number);
  const taken = new Set([...numbers, ...momentary, ...descriptors.map(({ number }) => number)]);
  const waiting = waitingNumbers(descriptions.length, taken);
  const move = (from: number, to: number, flags: number, subject: Subject): void => {
    calls.add({
      what: `move descriptor ${from} to ${to}`,
      number: SYS.dup3,
      args: [from, to, flags],
      failed: (error) => {
        throw restoreError(subject, `give it the number ${to}`, error);
      },
    });
  };

  for (const [index, number] of waiting.entries()) move(numbers[index]!, number, 0, subjects[index]!);
  epoll.addEarly(plan, waiting, copies);
  for (const { number, description, closeOnExec } of descriptors) {
    move(waiting[description]!, number, closeOnExec ? O.CLOEXEC : 0, subjects[description]!);
  }
  for (const { first, last } of rangesToClose(descriptors)) {
    calls.add({ what: `close ${first} to ${last}`, number: SYS.close_range, args: [first, last, 0] });
  }
  const final = subjects.map(({ number }) => number);
  epoll.addLate(plan, final);
  // Last of all: closing any descriptor of a file takes the process's locks on it away.
  for (const [index, image] of descriptions.entries()) {
    if (image.kind !== 'file') continue;
    for (const lock of image.locks.filter(isOfProcess)) {
      const what = `lock ${image.path}`;
      calls.add({ what, number: SYS.fcntl, args: [final[index]!, F_SETLK, encodeLock(lock)] });
    }
  }
  calls.flush();
}

function checkNumbers(pid: number, { descriptors }: DescriptorTableImage): void {
  using directory = new DescriptorDirectory(pid);
  const numbers = directory.numbers();
  const wanted = descriptors.map(({ number }) => number);
  assert(numbers.join() === wanted.join(), `descriptors ${numbers.join()} where ${wanted.join()} were to be`);
}
