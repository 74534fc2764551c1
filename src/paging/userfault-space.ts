/** An address space with missing pages, as the kernel shows it: a userfaultfd. */
import { EAGAIN, EEXIST, ENOENT, ENOMEM, ESRCH, KernelError } from '../linux/errno.ts';
import { closeDescriptor } from '../linux/pidfd.ts';
import { COPY_MODE, type FaultMessage, tryCopy, tryZero, wake } from '../linux/userfaultfd.ts';
import type { EventJournal } from './event-journal.ts';
import type { Refusal, Space } from './fault-service.ts';
import { addressOfPage, PAGE_BYTES } from './page-range.ts';

/** All that user space can have of x86-64 without a fifth level of page tables. */
const LOWEST_PAGE = 0x10;
const PAGES = 0x7fff_ffff_f;

export class UserfaultSpace implements Space {
  readonly descriptor: number;
  readonly #journal: EventJournal;
  readonly #mode: number;
  #closed = false;

  /**
   * Takes the descriptor and the journal over: {@link close} closes both.
   *
   * @param trackWrites the memory is registered for write tracking too: a page that is put counts as not written.
   */
  constructor(descriptor: number, journal: EventJournal, trackWrites = false) {
    this.descriptor = descriptor;
    this.#journal = journal;
    this.#mode = trackWrites ? COPY_MODE.WP : 0;
  }

  read(): readonly FaultMessage[] {
    return this.#journal.read(this.descriptor);
  }

  copy(page: number, bytes: Uint8Array): number | Refusal {
    return answerOf(`put pages at page ${page}`, tryCopy(this.descriptor, addressOfPage(page), bytes, this.#mode));
  }

  zero(page: number, count: number): number | Refusal {
    return answerOf(
      `put zero pages at page ${page}`,
      tryZero(this.descriptor, addressOfPage(page), count * PAGE_BYTES),
    );
  }

  wake(page: number, count: number): void {
    wake(this.descriptor, addressOfPage(page), BigInt(count * PAGE_BYTES));
  }

  /** Faults that an earlier service has read and not answered are told anew. */
  wakeAll(): void {
    this.wake(LOWEST_PAGE, PAGES - 2 * LOWEST_PAGE);
  }

  /** When nobody else has the descriptor, missing pages are zero pages from now on. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeDescriptor(this.descriptor);
    this.#journal.close();
  }
}

function answerOf(what: string, result: number): number | Refusal {
  if (result > 0) return result / PAGE_BYTES;
  switch (-result) {
    case EEXIST:
      return 'exists';
    // Without memory to be had now it is tried again; the kernel ends somebody before long.
    case EAGAIN:
    case ENOMEM:
      return 'again';
    case ENOENT:
      return 'gone';
    case ESRCH:
      return 'ended';
    default:
      throw new KernelError(what, -result);
  }
}
