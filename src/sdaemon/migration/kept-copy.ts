/** A migration to this machine whose copy may be told to take over: who may say so, when, and what comes of it. */
import { setTimeout as pause } from 'node:timers/promises';
import { ComicranError } from '../../base/errors.ts';
import type { FullConfig } from '../../base/sandbox-config.ts';
import type { Migration } from '../../migration/journal.ts';
import type { Takeover } from '../../migration/outcome.ts';
import type { TakeoverOrder } from '../../migration/ports.ts';
import { uncarry } from './carried-error.ts';
import type { JobOutcome, JobProgress } from './job.ts';

export type TakeoverRequest = {
  readonly fromVm: string;
  readonly machineIsOff: boolean;
};

export type TakenOverHere = Takeover & { readonly fromVm: string; readonly toVm: string; readonly epoch: bigint };

/** A source that is dead is noticed by then: the connection to it ends, or a step of the protocol takes too long. */
const NOTICED_MS = 15_000;
const LOOK_MS = 50;

export class KeptCopy {
  readonly #migration: Migration;
  readonly #config: FullConfig;
  readonly #order = Promise.withResolvers<TakeoverOrder>();
  #phase = '';

  constructor(migration: Migration, config: FullConfig) {
    this.#migration = migration;
    this.#config = config;
  }

  /** For the job. */
  get ordered(): Promise<TakeoverOrder> {
    return this.#order.promise;
  }

  /** @returns a line for the log where the copy is kept from now on */
  progress({ phase, note }: JobProgress): string | undefined {
    this.#phase = phase;
    if (phase !== 'keep' || note === undefined) return undefined;
    const { sandbox, source } = this.#migration;
    return `${note}. Where ${source} is dead: comicran smanager takeover ${sandbox} --from-dead ${source}`;
  }

  /**
   * @param job its end, of the sandbox too
   * @throws ComicranError migration.refused: the source is heard, or is another one, or could go on being heard; and why the copy
   * could not take over
   */
  async takeOver(request: TakeoverRequest, job: Promise<JobOutcome>, patience: number): Promise<TakenOverHere> {
    const { sandbox, source, destination } = this.#migration;
    this.#check(request);
    let isOver = false;
    const ended = job.finally(() => {
      isOver = true;
    });
    ended.catch(() => undefined);
    for (const untilMs = performance.now() + NOTICED_MS * patience; this.#phase !== 'keep' && !isOver; ) {
      if (performance.now() > untilMs) throw this.#isHeard();
      await pause(LOOK_MS);
    }
    this.#order.resolve({ sourceIsOff: request.machineIsOff });
    const outcome = await ended;
    if (outcome.outcome === 'owned' && outcome.takeover !== undefined)
      return { ...outcome.takeover, fromVm: source, toVm: destination, epoch: outcome.epoch };
    if ('error' in outcome) throw uncarry(outcome.error);
    throw new ComicranError('migration.refused', `${source} has moved '${sandbox}' to ${destination} after all`, {
      hint: `See 'comicran smanager ps'.`,
    });
  }

  #check({ fromVm, machineIsOff }: TakeoverRequest): void {
    const { sandbox, source, destination } = this.#migration;
    if (fromVm !== source) {
      throw new ComicranError(
        'migration.refused',
        `${destination} has a copy of '${sandbox}' from ${source}, not from ${fromVm}`,
        {
          hint: `Where ${source} is dead, say --from-dead ${source}.`,
        },
      );
    }
    const published = this.#config.network.ports.filter(({ publish }) => publish !== undefined);
    if (published.length === 0 || machineIsOff) return;
    const ports = published.map(({ publish, protocol }) => `${publish}/${protocol}`).join(', ');
    throw new ComicranError(
      'migration.refused',
      `'${sandbox}' is published on ${source}'s own address (${ports}): what reaches it there does not pass the sdn node, which could not shut it out`,
      { hint: `Make sure that ${source} is switched off, and say so with --machine-is-off.` },
    );
  }

  #isHeard(): ComicranError {
    const { sandbox, source, destination } = this.#migration;
    return new ComicranError(
      'migration.refused',
      `${destination} hears ${source} still, or has no whole copy of '${sandbox}' yet (${this.#phase || 'preparing'})`,
      { hint: `Give the migration up with 'comicran smanager abort ${sandbox}', or wait for its end.` },
    );
  }
}
