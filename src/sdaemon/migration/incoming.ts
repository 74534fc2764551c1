/** A migration to this machine, as its daemon sees it. The protocol itself runs in a worker (destination-job.ts). */
import { randomBytes } from 'node:crypto';
import { freemem } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import type { PrepareMigrationRequest } from '../../api/gen/comicran_pb.ts';
import { Cleanup } from '../../base/cleanup.ts';
import { ComicranError, messageOf } from '../../base/errors.ts';
import { parseFullConfig } from '../../base/full-config.ts';
import type { FullConfig } from '../../base/sandbox-config.ts';
import { formatBytes, formatMicros } from '../../base/units.ts';
import type { KernelFacts } from '../../linux/kernel-facts.ts';
import type { Migration } from '../../migration/journal.ts';
import { MODES } from '../../migration/modes.ts';
import type { Jail } from '../sandboxes/jailors.ts';
import { checkName } from '../sandboxes/lifecycle.ts';
import { uncarry } from './carried-error.ts';
import type { ChannelAddress, JobOutcome } from './job.ts';
import { JournalFiles } from './journal-files.ts';
import { KeptCopy, type TakenOverHere, type TakeoverRequest } from './kept-copy.ts';
import { checkPlatform, type Platform, platformOf } from './platform.ts';
import { confirmOwnership, endMigration, openRecordChannel, ownershipOver } from './record.ts';
import type { MigrationWorld } from './world.ts';

export type IncomingWorld = MigrationWorld & { readonly facts: KernelFacts };

const KEY_BYTES = 32;
/** How long a migration that follows waits for the memory to be here. */
const WHOLE_MS = 30_000;
/** The source freezes soon after it has been answered; without a word for so long it will not come. */
const DEADLINE_MS = 60_000;

export type Prepared = ChannelAddress & { readonly canStage: boolean };

type UnderWay = {
  readonly sandbox: string;
  readonly source: string;
  readonly controller: AbortController;
  readonly ended: Promise<void>;
  /** Where the copy is kept when its source is not heard any more, with the end of its job. */
  readonly kept?: { readonly copy: KeptCopy; readonly job: Promise<JobOutcome> };
};

export class Incoming {
  readonly #world: IncomingWorld;
  readonly #underWay = new Map<string, UnderWay>();

  constructor(world: IncomingWorld) {
    this.#world = world;
  }

  /**
   * Makes the skeleton of a sandbox and waits for its process in the background. On failure nothing of it is left.
   * @returns where the source finds the channel, and whether there is room for memory that comes before its process. @throws ComicranError migration.refused and what jailor refuses with.
   */
  async prepare(request: PrepareMigrationRequest): Promise<Prepared> {
    const { registry, jailors, vm, log } = this.#world;
    const config = parseFullConfig(request.configJson, `the configuration from ${request.fromVm}`);
    const id = config.id;
    checkName(id);
    checkPlatform(parsePlatform(request.platformJson), platformOf(this.#world.facts));
    // What is copied while it runs is kept until the process is built: it is here twice for a moment.
    const memoryBytes = Number(request.memoryBytes);
    checkMemory(config, memoryBytes * (request.mode === 'precopy' ? 2 : 1));
    const canStage = request.staged && hasRoom(memoryBytes * 2);
    const mode = MODES.find((name) => name === request.mode);
    if (mode === undefined)
      throw new ComicranError('migration.refused', `${vm} does not know the mode '${request.mode}'`);
    const migration: Migration = {
      ...{ id: request.migrationId, sandbox: id, mode, epoch: request.epoch },
      ...{ source: request.fromVm, destination: vm },
    };
    await this.#replace(id, request.fromVm);
    this.#world.publisher.check(id, config.network);
    const cleanup = new Cleanup();
    const { epoch } = request;
    const previous = registry.find(id);
    registry.reserve(id, { state: 'arriving', config, jail: undefined, epoch });
    cleanup.defer(`forget ${id}`, () => registry.remove(id));
    try {
      if (previous !== undefined) await jailors.forget(id);
      const jail = await jailors.start(config, 'skeleton', {
        startedAtMs: Number(request.startedUnixMs) || undefined,
        restarts: request.restarts,
      });
      cleanup.defer(`take the skeleton of ${id} down`, () => this.#remove(id, jail));
      registry.set(id, { state: 'arriving', config, jail, epoch });
      const channel = await this.#wait(migration, config, jail, request);
      cleanup.keep();
      return { ...channel, canStage };
    } catch (cause) {
      for (const failure of await cleanup.run()) log(`${id}: clean-up: ${messageOf(failure)}`);
      throw cause;
    }
  }

  /** The source says that it will not come. Resolves when nothing of it is left. */
  async discard(migrationId: string): Promise<void> {
    const underWay = this.#underWay.get(migrationId);
    underWay?.controller.abort();
    await underWay?.ended;
  }

  /**
   * Has the copy that is kept here of a source that is not heard any more take over.
   * @throws ComricanError migration.refused: there is none, or it may not; and why it could not
   */
  async takeOver(sandbox: string, request: TakeoverRequest): Promise<TakenOverHere> {
    const { vm, patience } = this.#world;
    const underWay = [...this.#underWay.values()].find((one) => one.sandbox === sandbox);
    const { kept } = underWay ?? {};
    if (underWay === undefined || kept === undefined) {
      throw new ComicranError('migration.refused', `${vm} has no copy of '${sandbox}' that could take over`, {
        hint: 'There is one where the source fell silent in a replicated migration before the cutover; not with --take-over never.',
      });
    }
    const taken = await kept.copy.takeOver(request, kept.job, patience);
    await underWay.ended;
    return taken;
  }

  /** A migration of an earlier run of the daemon, which goes on in the background. */
  follow(migrationId: string, sandbox: string, ended: Promise<void>): void {
    const controller = new AbortController();
    const settled = ended.finally(() => this.#underWay.delete(migrationId));
    this.#underWay.set(migrationId, { sandbox, source: '', controller, ended: settled });
  }

  follows(migrationId: string): boolean {
    return this.#underWay.has(migrationId);
  }

  /** Resolves when no migration of this sandbox to this machine is under way any more. */
  async settled(sandbox: string): Promise<void> {
    for (const underWay of this.#underWay.values()) if (underWay.sandbox === sandbox) await underWay.ended;
  }

  /**
   * As {@link settled}, for a migration that is to follow: the memory of a process that came by `postcopy` must all be here.
   * @throws ComicranError migration.busy when that takes long
   */
  async whole(sandbox: string): Promise<void> {
    const { registry } = this.#world;
    // It is not this machine's yet: the one that it comes from is moving it.
    if (registry.find(sandbox)?.state === 'arriving') registry.expect(sandbox, 'running');
    const late = Symbol('late');
    const waiting = new AbortController();
    const patience = setTimeout(WHOLE_MS * this.#world.patience, late, { signal: waiting.signal }).catch(() => late);
    const first = await Promise.race([this.settled(sandbox), patience]);
    waiting.abort();
    if (first !== late) return;
    throw new ComicranError('migration.busy', `the last migration of '${sandbox}' to this machine is not over yet`, {
      hint: 'Its memory is still on its way (postcopy), or the machine that it came from has not said its last word. Try again.',
    });
  }

  /** A source that asks again has given up what it prepared before, though it may not have lived to say so. */
  async #replace(sandbox: string, source: string): Promise<void> {
    for (const [id, underWay] of this.#underWay) {
      if (underWay.sandbox === sandbox && underWay.source === source) await this.discard(id);
    }
  }

  /** Starts the worker's job. @returns when it listens. */
  async #wait(
    migration: Migration,
    config: FullConfig,
    jail: Jail,
    { uncomparedPorts, takeOver }: PrepareMigrationRequest,
  ): Promise<ChannelAddress> {
    const { engine, stateDirectory, address, log } = this.#world;
    const { hatchery, init, link, tag } = jail.state();
    if (hatchery === null || init === null) throw new ComicranError('sandbox.not-running', `${jail.id}: no skeleton`);
    const controller = new AbortController();
    const key = randomBytes(KEY_BYTES);
    const listening = Promise.withResolvers<number>();
    const record = await openRecordChannel(this.#world, migration);
    let arriving: Promise<void> | undefined;
    const arrive = (hostPid: number, epoch: bigint): Promise<void> => {
      if (arriving !== undefined) return arriving;
      void confirmOwnership(this.#world, migration);
      arriving = this.#arrived(config, jail, hostPid, epoch);
      return arriving;
    };
    const copy = takeOver === 'ask' ? new KeptCopy(migration, config) : undefined;
    const note = (text: string | undefined): void => {
      if (text !== undefined) log(`${migration.sandbox}: ${text}`);
    };
    const job = engine.run(
      {
        ...{ side: 'destination', migration, stateDirectory, deadlineMs: DEADLINE_MS * this.#world.patience },
        patience: this.#world.patience,
        hatcheryPid: hatchery.pid,
        skeleton: { initPid: init.pid, link, tag, address: config.network.address },
        listen: { address, key },
        record,
        ...{ uncomparedPorts, keepsCopy: copy !== undefined },
      },
      {
        onListening: listening.resolve,
        onRunning: (hostPid, epoch) => void arrive(hostPid, epoch),
        keeper: jail,
        signal: controller.signal,
        onNote: note,
        ...(copy === undefined ? {} : { onProgress: (now) => note(copy.progress(now)), ordered: copy.ordered }),
        ...ownershipOver(this.#world, migration),
      },
    );
    const ended = job
      .then(async (outcome) => {
        for (const leftover of outcome.leftovers) log(`${migration.sandbox}: ${uncarry(leftover).message}`);
        if (outcome.outcome === 'owned') {
          const phases = outcome.phases.map(({ phase, durationMicros }) => `${phase} ${formatMicros(durationMicros)}`);
          log(
            `${migration.sandbox}: migration ${migration.id} as its destination: ${phases.join(', ')}; taking over, in µs: ${outcome.marks}`,
          );
          await arrive(outcome.hostPid, outcome.epoch);
          new JournalFiles(stateDirectory).clear(migration.id);
        }
        if (outcome.outcome === 'discarded') void endMigration(this.#world, migration);
        if (outcome.outcome === 'halted') {
          // Whether it owns is not known: taking it down could end the only one. The journal keeps it for the recovery.
          log(`${migration.sandbox}: halted, an operator is needed: ${uncarry(outcome.error).message}`);
        } else if ('error' in outcome) throw uncarry(outcome.error);
      })
      .catch(async (thrown: unknown) => {
        listening.reject(thrown);
        if (arriving !== undefined) {
          log(`${migration.sandbox}: runs here, and its migration has not ended well: ${messageOf(thrown)}`);
          return;
        }
        log(`${migration.sandbox}: did not arrive from ${migration.source}: ${messageOf(thrown)}`);
        await this.#remove(migration.sandbox, jail);
      })
      .finally(() => this.#underWay.delete(migration.id));
    const { sandbox, source } = migration;
    const kept = copy === undefined ? {} : { kept: { copy, job } };
    this.#underWay.set(migration.id, { sandbox, source, controller, ended, ...kept });
    return { address, port: await listening.promise, key };
  }

  /** Does not throw. */
  async #arrived(config: FullConfig, jail: Jail, hostPid: number, epoch: bigint): Promise<void> {
    const { registry, publisher, lifecycle, log } = this.#world;
    try {
      await jail.adopt(hostPid);
    } catch (thrown) {
      log(`${config.id}: has arrived and ended: ${messageOf(thrown)}`);
      await lifecycle.lost(config, jail, epoch);
      return;
    }
    registry.set(config.id, { state: 'running', config, jail, epoch });
    void lifecycle.watch(config.id, jail);
    log(`${config.id}: has arrived, process ${hostPid}, epoch ${epoch}`);
    await publisher.publish(config.id, config.network).catch((thrown: unknown) => {
      log(`${config.id}: its ports are not published here: ${messageOf(thrown)}`);
    });
  }

  async #remove(id: string, jail: Jail): Promise<void> {
    await jail.release().catch(() => undefined);
    await this.#world.jailors.forget(id).catch(() => undefined);
    this.#world.registry.remove(id);
  }
}

const hasRoom = (bytes: number): boolean => bytes < freemem();

/** A destination that would run out of memory in the middle refuses at once. */
function checkMemory(config: FullConfig, bytes: number): void {
  if (hasRoom(bytes)) return;
  throw new ComicranError(
    'migration.refused',
    `'${config.id}' needs ${formatBytes(bytes)} of memory, the destination has ${formatBytes(freemem())}`,
    { hint: 'Free memory there, or choose another machine.' },
  );
}

/** What another daemon of this project has written (platformOf). */
function parsePlatform(text: string): Platform {
  try {
    return JSON.parse(text) as Platform;
  } catch (cause) {
    throw new ComicranError('peer.protocol', 'the source sent no platform', { cause });
  }
}
