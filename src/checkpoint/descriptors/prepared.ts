/**
 * The descriptors of a process, looked at before it is stopped. In the stop it is found out whether they are still the same
 * open file descriptions, and only what can have changed in those is read anew; where they are not, all of it is.
 */
import type { DescriptionImage, DescriptorTableImage } from '../../image/descriptors/types.ts';
import { parseDescriptorInfo, parseEpollItems } from '../../linux/fdinfo.ts';
import { POLL, pollNow } from '../../linux/file-descriptors.ts';
import { isEpollTarget, sameDescription } from '../../linux/kcmp.ts';
import { O } from '../../linux/open-flags.ts';
import { SyscallBatch } from '../../linux/syscall-batch.ts';
import { SYS } from '../../linux/syscall-numbers.ts';
import type { RemoteCall } from '../../linux/tracee.ts';
import type { Question } from '../question.ts';
import { attempt, captureDescriptors, DescriptionCapture, isTimer, loners, refusalError } from './capture.ts';
import { readTable } from './sharing.ts';
import { GroupLook, isComparable, SocketLook } from './socket-look.ts';
import { type CaptureContext, DescriptorSource, type Found, isGone, Refusal } from './source.ts';

const F_GETFD = 1;
const F_GETFL = 3;
const FD_CLOEXEC = 1;

/** What a descriptor number has of its own, and the status flags of what it refers to. */
type DescriptorFlags = { readonly closeOnExec: boolean; readonly flags: number };

/** Makes a table of what has been read. */
export type LateTable = () => DescriptorTableImage;

function captured(context: CaptureContext): LateTable {
  const table = captureDescriptors(context);
  return () => table;
}

/** Holds copies of the descriptors: to be closed soon, since a socket lives as long as its last descriptor. */
export class PreparedDescriptors {
  readonly #context: CaptureContext;
  readonly #source: DescriptorSource;
  readonly #found: readonly Found[];
  readonly #images = new Map<Found, DescriptionImage>();
  readonly #numbers: readonly number[];
  /** Whether each number still refers to what there is a copy of. */
  readonly #comparison: SyscallBatch;
  readonly #sockets = new Map<Found, SocketLook>();
  #groups: GroupLook | null = null;
  readonly #flagCalls: readonly RemoteCall[];
  /** Whether the capture has read the flags, too. */
  #isComplete = false;

  /** Looks at a process that runs. @throws KernelError when it has gone. */
  constructor(context: CaptureContext) {
    this.#context = context;
    this.#source = new DescriptorSource({ ...context, running: true });
    try {
      this.#found = readTable(this.#source);
      this.#look();
    } catch (error) {
      this.close();
      throw error;
    }
    this.#numbers = this.#found
      .flatMap(({ descriptors }) => descriptors.map(({ number }) => number))
      .sort((a, b) => a - b);
    this.#comparison = this.#compareAll();
    this.#flagCalls = this.#numbers.flatMap((number) =>
      [F_GETFD, F_GETFL].map((command) => ({
        what: `read the flags of descriptor ${number}`,
        number: SYS.fcntl,
        args: [number, command, 0],
        mayFail: true,
      })),
    );
  }

  #compareAll(): SyscallBatch {
    const batch = new SyscallBatch(this.#numbers.length);
    // Where something has no image nothing is compared.
    if (this.#images.size < this.#found.length) return batch;
    for (const { number: first, descriptors } of this.#found)
      for (const { number } of descriptors)
        batch.add(SYS.kcmp, ...sameDescription(this.#source.copy(first), this.#context.pid, number));
    return batch;
  }

  #look(): void {
    using capture = new DescriptionCapture(this.#source, this.#found);
    for (const found of this.#found) {
      try {
        const image = capture.capture(found);
        if (image.kind === 'udp-socket') this.#groups ??= new GroupLook(this.#source.pid);
        if (isComparable(image)) {
          this.#sockets.set(found, new SocketLook(this.#source.copy(found.number), image));
          // Once more: what changes behind the look will be seen, what changed before it is in the image.
          this.#images.set(found, capture.capture(found));
        } else this.#images.set(found, image);
      } catch (error) {
        // What cannot be moved, or is not there any more, is seen to in the stop.
        if (!(error instanceof Refusal) && !isGone(this.#source.context, error)) throw error;
      }
    }
  }

  /** Goes through what {@link capture} compares, right before the stop: what has just been done is done quickly. */
  rehearse(): void {
    try {
      if (this.#images.size < this.#found.length || !this.#isUnchanged()) return;
      this.#groups?.isSame();
      for (const found of this.#sockets.keys()) this.#isSocketSame(found);
      for (const [{ number }, { kind }] of this.#images) if (kind === 'epoll') this.#source.text(number);
    } catch (error) {
      if (!isGone(this.#source.context, error)) throw error;
    }
  }

  /** What a process can change without opening or closing anything. */
  flags(): Question<readonly DescriptorFlags[]> {
    return {
      calls: this.#flagCalls,
      answer: (results) =>
        this.#numbers.map((_, index) => ({
          closeOnExec: (Number(results[2 * index]) & FD_CLOEXEC) !== 0,
          flags: Number(results[2 * index + 1]) & ~O.CLOEXEC,
        })),
    };
  }

  /**
   * Captures the table of the process, whose threads are all stopped, with the flags that it had when it ran: the steps of an
   * Errand (linux/errand.ts). Reads nothing of its memory.
   *
   * @returns what makes the table of what was read; the process may run then. @throws as captureDescriptors.
   */
  *capture(threads: readonly number[]): Generator<void, LateTable> {
    const { running: _, ...context } = { ...this.#context, threads };
    if (!this.#isUnchanged() || loners(context).length > 0) {
      this.#isComplete = true;
      return captured(context);
    }
    yield;
    // Not closed: what it has open is that of the other source.
    const source = new DescriptorSource(context, this.#source);
    const current: Found[] = [];
    for (const found of this.#found) {
      current.push(this.#current(source, found));
      if (this.#images.get(found)!.kind === 'epoll') yield;
    }
    using capture = new DescriptionCapture(source, current);
    const images = new Map<Found, DescriptionImage>();
    const refusals: Refusal[] = [];
    const areGroupsSame = this.#groups?.isSame() !== false;
    yield;
    for (const [index, found] of this.#found.entries()) {
      if (isTimer(found)) continue;
      attempt(refusals, () =>
        images.set(current[index]!, this.#image(source, capture, found, current[index]!, areGroupsSame)),
      );
      if (takesTime(this.#images.get(found)!)) yield;
    }
    // Timers last: see captureTimerfd.
    for (const found of current) if (isTimer(found)) attempt(refusals, () => images.set(found, capture.capture(found)));
    attempt(refusals, () => capture.carryWritten());
    if (refusals.length > 0) throw refusalError(context.pid, refusals);
    return () => capture.table(current, images);
  }

  /**
   * What {@link capture} gave, if the flags are still those that it took them for; otherwise all of it anew.
   *
   * @param flags the answer to {@link flags}.
   */
  confirm(table: LateTable, flags: readonly DescriptorFlags[], threads: readonly number[]): LateTable {
    if (this.#isComplete || this.#haveFlags(flags)) return table;
    const { running: _, ...context } = { ...this.#context, threads };
    return captured(context);
  }

  #haveFlags(flags: readonly DescriptorFlags[]): boolean {
    const byNumber = new Map(this.#numbers.map((number, index) => [number, flags[index]!]));
    return this.#found.every((found) =>
      found.descriptors.every(({ number, closeOnExec }) => {
        const now = byNumber.get(number)!;
        return now.closeOnExec === closeOnExec && now.flags === found.flags;
      }),
    );
  }

  #isUnchanged(): boolean {
    if (this.#images.size < this.#found.length) return false;
    const numbers = this.#source.directory.numbers();
    if (numbers.length !== this.#numbers.length || numbers.some((number, index) => number !== this.#numbers[index]))
      return false;
    this.#comparison.run();
    return this.#comparison.allZero;
  }

  /** As `found`, with what fdinfo says now where that can be more than it said before. */
  #current(source: DescriptorSource, found: Found): Found {
    if (!needsText(this.#images.get(found)!, this.#source.copy(found.number))) return found;
    const text = source.text(found.number);
    return text === found.text ? found : { ...found, text, info: parseDescriptorInfo(text) };
  }

  #image(
    source: DescriptorSource,
    capture: DescriptionCapture,
    found: Found,
    current: Found,
    areGroupsSame: boolean,
  ): DescriptionImage {
    const before = this.#images.get(found)!;
    switch (before.kind) {
      case 'device':
      case 'inherited':
        return before;
      case 'eventfd':
        return isReadable(this.#source.copy(found.number)) ? capture.capture(current) : { ...before, count: 0n };
      case 'epoll':
        return current === found && this.#watchesSame(source, found, before.items) ? before : capture.capture(current);
      case 'udp-socket':
      case 'tcp-socket':
      case 'netlink-socket':
        return areGroupsSame && this.#isSocketSame(found) ? before : capture.capture(current);
      default:
        return capture.capture(current);
    }
  }

  #isSocketSame(found: Found): boolean {
    return this.#sockets.get(found)!.isSame();
  }

  /** Whether the items of an epoll descriptor, which read as before, are on the same descriptions. */
  #watchesSame(source: DescriptorSource, found: Found, items: readonly { readonly target: number }[]): boolean {
    const seen = new Map<number, number>();
    return parseEpollItems(found.text).every(({ number }, index) => {
      const nth = seen.get(number) ?? 0;
      seen.set(number, nth + 1);
      const target = this.#found[items[index]!.target]!;
      return isEpollTarget(source.pid, target.number, found.number, number, nth);
    });
  }

  close(): void {
    this.#groups?.close();
    this.#source.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Whether it takes more than a few system calls to find out what has become of a description. */
const takesTime = ({ kind }: DescriptionImage): boolean => kind !== 'device' && kind !== 'inherited';

const isReadable = (copy: number): boolean => (pollNow(copy, POLL.IN) & POLL.IN) !== 0;

/** Whether the image of a description is made of its fdinfo, and that can have changed. */
function needsText({ kind }: DescriptionImage, copy: number): boolean {
  switch (kind) {
    case 'epoll':
    case 'signalfd':
    case 'inotify':
    case 'file':
      return true;
    case 'eventfd':
      return isReadable(copy);
    default:
      return false;
  }
}
