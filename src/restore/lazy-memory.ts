/** Memory of a process being built whose pages may come when it runs: registered with userfaultfd. */
import { ComicranError } from '../base/errors.ts';
import type { MemoryImage } from '../image/types.ts';
import { EAGAIN, EEXIST, EPERM, KernelError } from '../linux/errno.ts';
import { cString, trySyscall } from '../linux/libc.ts';
import { O } from '../linux/open-flags.ts';
import { encodeReceiving, RECEIVING_BYTES, receivedDescriptor, sendDescriptor } from '../linux/pass-descriptor.ts';
import { closeDescriptor, getDescriptor } from '../linux/pidfd.ts';
import { SYS } from '../linux/syscall-numbers.ts';
import type { Tracee } from '../linux/tracee.ts';
import {
  enableFeatures,
  FEATURE,
  REGISTER_MODE,
  register,
  tryCopy,
  USERFAULTFD_FLAGS,
  USERFAULTFD_IOC_NEW,
} from '../linux/userfaultfd.ts';
import { isLazy, lazySpans, type Span } from './lazy-areas.ts';

const PAGE_BYTES = 4096;
const AT_FDCWD = -100;
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
/** Without these events a page that the process throws away, moves or inherits would come back, or not come. */
const FEATURES = FEATURE.EVENT_FORK | FEATURE.EVENT_REMAP | FEATURE.EVENT_REMOVE | FEATURE.EVENT_UNMAP;

export class LazyMemory {
  /** Of single areas: a copy must not cross the border of two. */
  #areas: readonly Span[] = [];
  #descriptor: number;

  /** Registers nothing yet. @throws ComicranError needs.kernel */
  constructor(thread: Tracee) {
    this.#descriptor = takeUserfault(thread);
    try {
      enableFeatures(this.#descriptor, FEATURES);
    } catch (cause) {
      this.close();
      throw cause;
    }
  }

  /**
   * Registers the areas of the process that can be lazy. From now on nobody may touch their missing pages but through
   * {@link copy}: whoever does waits.
   */
  register(memory: MemoryImage): void {
    this.#areas = memory.areas.filter(isLazy);
    try {
      for (const { start, end } of lazySpans(memory))
        register(this.#descriptor, start, end - start, REGISTER_MODE.MISSING);
    } catch (cause) {
      this.close();
      throw cause;
    }
  }

  get descriptor(): number {
    return this.#descriptor;
  }

  /** The lazy area that an address lies in. */
  areaAt(address: bigint): Span | undefined {
    let low = 0;
    let high = this.#areas.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const area = this.#areas[middle]!;
      if (address < area.start) high = middle - 1;
      else if (address >= area.end) low = middle + 1;
      else return area;
    }
    return undefined;
  }

  /** The first lazy area behind an address. */
  nextArea(address: bigint): Span | undefined {
    return this.#areas.find(({ start }) => start >= address);
  }

  /**
   * Puts pages into one area. @param write for a page that is there already.
   */
  copy(start: bigint, bytes: Uint8Array, write: (address: bigint, page: Uint8Array) => void): void {
    for (let done = 0; done < bytes.length; ) {
      const at = start + BigInt(done);
      let count = tryCopy(this.#descriptor, at, bytes.subarray(done));
      if (count === -EEXIST) {
        write(at, bytes.subarray(done, done + PAGE_BYTES));
        count = PAGE_BYTES;
      } else if (count < 0 && count !== -EAGAIN) {
        throw new KernelError(`put a page at 0x${at.toString(16)}`, -count);
      }
      if (count > 0) done += count;
    }
  }

  /** Gives the descriptor away; whoever gets it closes it. */
  release(): number {
    const descriptor = this.#descriptor;
    this.#descriptor = -1;
    return descriptor;
  }

  get isReleased(): boolean {
    return this.#descriptor < 0;
  }

  close(): void {
    if (this.#descriptor >= 0) closeDescriptor(this.#descriptor);
    this.#descriptor = -1;
  }
}

/** A userfaultfd for the memory of the process, which itself keeps none. */
function takeUserfault(thread: Tracee): number {
  let made = Number(thread.tryCall(SYS.userfaultfd, USERFAULTFD_FLAGS));
  // It takes CAP_SYS_PTRACE of the machine, which a sandbox in a user namespace has not.
  if (made === -EPERM) made = makeThroughDevice(thread);
  if (made < 0)
    throw new ComicranError('needs.kernel', 'the process cannot have a userfaultfd', {
      cause: new KernelError('userfaultfd', -made),
      hint: 'Pages that come later need CONFIG_USERFAULTFD; mode stopcopy does without.',
    });
  try {
    return getDescriptor(thread.process.pid, made);
  } finally {
    thread.call('close the userfaultfd', SYS.close, made);
  }
}

/**
 * Whoever has /dev/userfaultfd open may make one of his own memory with it. The process is handed a descriptor of this
 * program's, over a pair of sockets that it makes.
 *
 * @returns a descriptor of the process, or a negative errno.
 */
export function makeThroughDevice(thread: Tracee): number {
  const device = trySyscall(SYS.openat, AT_FDCWD, cString('/dev/userfaultfd'), O.RDWR | O.CLOEXEC, 0);
  if (device < 0) return device;
  const mark = thread.agent.mark();
  const theirs: number[] = [];
  try {
    const pair = thread.agent.reserve(8);
    thread.call('make a pair of sockets', SYS.socketpair, AF_UNIX, SOCK_DGRAM | O.CLOEXEC, 0, pair);
    const sockets = thread.read(pair, 8);
    theirs.push(sockets.readInt32LE(0), sockets.readInt32LE(4));
    const own = getDescriptor(thread.process.pid, theirs[0]!);
    try {
      sendDescriptor(own, device);
    } finally {
      closeDescriptor(own);
    }
    const message = thread.agent.reserve(RECEIVING_BYTES);
    thread.process.memory.write(message, encodeReceiving(message));
    thread.call('receive a descriptor', SYS.recvmsg, theirs[1]!, message, 0);
    const received = receivedDescriptor(thread.read(message, RECEIVING_BYTES));
    theirs.push(received);
    return Number(thread.tryCall(SYS.ioctl, received, USERFAULTFD_IOC_NEW, USERFAULTFD_FLAGS));
  } finally {
    for (const descriptor of theirs) thread.tryCall(SYS.close, descriptor);
    thread.agent.release(mark);
    closeDescriptor(device);
  }
}
