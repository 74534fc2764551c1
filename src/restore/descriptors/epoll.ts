import { readFileSync } from 'node:fs';
import type { DescriptorTableImage, EpollItemImage } from '../../image/descriptors/types.ts';
import {
  EPOLL_CTL_ADD,
  EPOLL_CTL_MOD,
  EPOLLIN,
  EPOLLOUT,
  epollEvent,
  isDisarmed,
  takeEvents,
} from '../../linux/epoll.ts';
import { parseEpollItems } from '../../linux/fdinfo.ts';
import { SYS } from '../../linux/syscall-numbers.ts';
import { type Copies, restoreError, type Subject } from './context.ts';
import type { RemoteCalls } from './remote-calls.ts';

/** An item with the epoll description that it belongs to. */
type Item = EpollItemImage & { readonly epoll: number };

/**
 * The items of all epoll descriptors, by when they can be added.
 *
 * An item remembers the number under which it was added. *Late* ones are added under a number that refers to their target
 * when the table is complete. The others need a moment of their own: *stale* ones because their number is closed or means
 * something else by now, *disarmed* ones (EPOLLONESHOT, fired) because that state comes only from firing.
 */
type EpollPlan = {
  readonly late: readonly Item[];
  readonly stale: readonly Item[];
  readonly disarmed: readonly Item[];
};

export function planEpoll({ descriptors, descriptions }: DescriptorTableImage): EpollPlan {
  const atNumber = new Map(descriptors.map(({ number, description }) => [number, description]));
  const items = descriptions.flatMap((image, epoll) =>
    image.kind === 'epoll' ? image.items.map((item): Item => ({ ...item, epoll })) : [],
  );
  const armed = items.filter(({ events }) => !isDisarmed(events));
  return {
    late: armed.filter(({ number, target }) => atNumber.get(number) === target),
    stale: armed.filter(({ number, target }) => atNumber.get(number) !== target),
    disarmed: items.filter(({ events }) => isDisarmed(events)),
  };
}

/** Adds items; makes the calls that act on epoll descriptors. */
export class EpollAssembly {
  readonly #calls: RemoteCalls;
  readonly #subjects: readonly Subject[];

  constructor(calls: RemoteCalls, subjects: readonly Subject[]) {
    this.#calls = calls;
    this.#subjects = subjects;
  }

  /** @param numbers of the descriptions now; the items' own numbers are free. */
  addEarly({ stale, disarmed }: EpollPlan, numbers: readonly number[], copies: Copies): void {
    for (const item of disarmed) {
      this.#withTargetInPlace(item, numbers, EPOLL_CTL_ADD, item.events | EPOLLIN | EPOLLOUT);
    }
    this.#calls.flush();
    for (const [epoll, items] of Map.groupBy(disarmed, (item) => item.epoll)) {
      const copy = copies.of(numbers[epoll]!);
      takeEvents(copy, items.length);
      const left = parseEpollItems(readFileSync(`/proc/thread-self/fdinfo/${copy}`, 'latin1'));
      // What is neither readable nor writable cannot be made to fire. It stays armed for errors and hang-ups alone.
      for (const item of items) {
        if (left.some(({ number, events }) => number === item.number && !isDisarmed(events))) {
          this.#withTargetInPlace(item, numbers, EPOLL_CTL_MOD, item.events);
        }
      }
    }
    for (const item of stale) this.#withTargetInPlace(item, numbers, EPOLL_CTL_ADD, item.events);
  }

  /** @param numbers of the descriptions, final. */
  addLate({ late }: EpollPlan, numbers: readonly number[]): void {
    for (const item of late) this.#control(item, numbers, EPOLL_CTL_ADD, item.events);
  }

  #withTargetInPlace(item: Item, numbers: readonly number[], operation: number, events: number): void {
    const { number, target } = item;
    this.#calls.add({ what: `place a target at ${number}`, number: SYS.dup3, args: [numbers[target]!, number, 0] });
    this.#control(item, numbers, operation, events);
    this.#calls.add({ what: `close ${number}`, number: SYS.close, args: [number] });
  }

  #control({ epoll, number, data }: Item, numbers: readonly number[], operation: number, events: number): void {
    this.#calls.add({
      what: `watch ${number}`,
      number: SYS.epoll_ctl,
      args: [numbers[epoll]!, operation, number, epollEvent(events, data)],
      failed: (error) => {
        throw restoreError(this.#subjects[epoll]!, `watch what was added as ${number}`, error);
      },
    });
  }
}
