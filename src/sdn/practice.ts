import { SdnController, type Take } from './controller.ts';
import { FakeDataPlane } from './fake-data-plane.ts';
import { openMemoryStore } from './record-store.ts';

/** So many rounds until the compiler has done what it will do: about 50 ms. */
const FIRST_ROUNDS = 400;
const SANDBOX = 'practice';

/**
 * Changes the owner of a sandbox that there is not, in memory. Code that nobody has run before, or not for a while, takes
 * several times as long, and a compare-and-set is run once: so it is practised, at the start and whenever one is announced.
 */
export class Practice {
  readonly #controller = new SdnController({
    store: openMemoryStore(),
    dataPlane: new FakeDataPlane(),
    serviceAddress: '192.0.2.1',
    nowMs: () => 0,
    after: () => undefined,
    log: () => undefined,
  });
  #epoch = 1n;

  constructor() {
    this.#controller.claim({ sandbox: SANDBOX, address: '192.0.2.2', vm: 'a', vmAddress: '192.0.2.3', services: [] });
    for (let round = 0; round < FIRST_ROUNDS; round++) this.round();
  }

  round(): void {
    const epoch = this.#epoch++;
    const [from, to] = epoch % 2n === 1n ? (['a', 'b'] as const) : (['b', 'a'] as const);
    const migrationId = `practice ${epoch}`;
    this.#controller.announce({ sandbox: SANDBOX, migrationId, epoch, from, to, untilMs: 1, lateRoute: true });
    const take: Take = { sandbox: SANDBOX, migrationId, expectedEpoch: epoch, vm: to, vmAddress: '192.0.2.3' };
    this.#controller.openRecord(take);
    this.#controller.take(take);
    this.#controller.lead(take);
  }
}
