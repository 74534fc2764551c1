import type { Clock } from '../ports.ts';

/** When a program dies: at its n-th call of a port, before it has an effect, while it is under way, or after it. */
export type Death = { readonly call: number; readonly moment: 'before' | 'during' | 'after' };

const NEVER = new Promise<never>(() => {});

/**
 * One run of a program, which can end at any call that it makes to the outside: from then on no call has an effect and
 * none returns. As a role can change the world through its ports only, these are all the ways in which it can die.
 */
export class Life {
  readonly #death: Death | undefined;
  readonly #died = Promise.withResolvers<'died'>();
  /** Names of the calls, in order: "journal.write". */
  readonly calls: string[] = [];
  dead = false;

  constructor(death?: Death) {
    this.#death = death;
  }

  get died(): Promise<'died'> {
    return this.#died.promise;
  }

  /** Another name for the program being killed at a time of the caller's choice. */
  end(): void {
    this.dead = true;
    this.#died.resolve('died');
  }

  /** Ports that end with this life. What their methods return is wrapped too where `wraps` names it. */
  wrap<T extends object>(name: string, port: T): T {
    return new Proxy(port, {
      get: (target, key): unknown => {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]): unknown =>
          this.#call(`${name}.${String(key)}`, () => Reflect.apply(value, target, args));
      },
    });
  }

  clock(clock: Clock): Clock {
    return {
      nowMicros: () => clock.nowMicros(),
      startTimer: (milliseconds, callback) => clock.startTimer(milliseconds, () => this.dead || callback()),
    };
  }

  #call(name: string, effect: () => unknown): unknown {
    if (this.dead) return NEVER;
    const call = this.calls.push(name);
    const moment = this.#death?.call === call ? this.#death.moment : undefined;
    if (moment === 'before') return this.#endHere();
    const result = effect();
    if (moment === 'during') {
      // It goes on without anybody who would hear of its failure.
      if (result instanceof Promise) result.catch(() => {});
      return this.#endHere();
    }
    if (!(result instanceof Promise)) return moment === 'after' ? this.#endHere() : this.#wrapResult(name, result);
    return result.then(
      (value: unknown) => this.#afterwards(moment, () => this.#wrapResult(name, value)),
      (error: unknown) =>
        this.#afterwards(moment, () => {
          throw error;
        }),
    );
  }

  #afterwards(moment: Death['moment'] | undefined, go: () => unknown): unknown {
    if (moment === 'after') return this.#endHere();
    return this.dead ? NEVER : go();
  }

  #endHere(): Promise<never> {
    this.end();
    return NEVER;
  }

  #wrapResult(name: string, result: unknown): unknown {
    const inner = {
      'process.freeze': 'frozen',
      'process.snapshot': 'snapshot',
      'engine.begin': 'restoring',
      'paging.start': 'fill',
      'paging.adopt': 'fill',
      'net.connect': 'channel',
      'net.accept': 'channel',
    }[name];
    return inner === undefined || typeof result !== 'object' || result === null ? result : this.wrap(inner, result);
  }
}
