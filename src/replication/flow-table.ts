/** Something for each flow that has been seen, found by numbers: quicker than by text. */
export class FlowTable<T> {
  readonly #byLocal = new Map<number, Map<number, T>>();

  /** Addresses are numbers of 32 bits. @param make what a flow begins with */
  get(localAddress: number, localPort: number, remoteAddress: number, remotePort: number, make: () => T): T {
    const local = localAddress * 65_536 + localPort;
    const remote = remoteAddress * 65_536 + remotePort;
    let byRemote = this.#byLocal.get(local);
    if (byRemote === undefined) {
      byRemote = new Map();
      this.#byLocal.set(local, byRemote);
    }
    let found = byRemote.get(remote);
    if (found === undefined) {
      found = make();
      byRemote.set(remote, found);
    }
    return found;
  }

  *[Symbol.iterator](): Generator<T> {
    for (const byRemote of this.#byLocal.values()) yield* byRemote.values();
  }
}

/** First in, first out, without moving what waits at every step. */
export class Queue<T> {
  #items: T[] = [];
  #first = 0;

  get length(): number {
    return this.#items.length - this.#first;
  }

  peek(): T | undefined {
    return this.#items[this.#first];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    if (this.length === 0) return undefined;
    return this.take(1)[0];
  }

  /** At most so many, from the front. */
  take(count: number): T[] {
    const taken = this.#items.slice(this.#first, this.#first + count);
    this.#first += taken.length;
    if (this.length === 0) this.clear();
    else if (this.#first >= 1024 && this.#first > this.length) {
      this.#items.splice(0, this.#first);
      this.#first = 0;
    }
    return taken;
  }

  clear(): void {
    this.#items = [];
    this.#first = 0;
  }
}
