/** A migration away from this machine, as its daemon sees it. The protocol itself runs in a worker (source-job.ts). */
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import type { Client } from '@connectrpc/connect';
import {
  type MigrateRequest,
  type MigrationUnderWay,
  MigrationUnderWaySchema,
  type PlanMigrationRequest,
  type PlanMigrationResponse,
  type Sdaemon,
} from '../../api/gen/comicran_pb.ts';
import { ComicranError, messageOf } from '../../base/errors.ts';
import { describeEnd, hintOfEnd, type ProcessEnd } from '../../base/process-end.ts';
import type { FullConfig } from '../../base/sandbox-config.ts';
import { formatBytes } from '../../base/units.ts';
import { type SandboxState, sandboxPaths } from '../../jailor/index.ts';
import { isAlive } from '../../linux/process-identity.ts';
import type { Migration } from '../../migration/journal.ts';
import { MODES, type ModeName } from '../../migration/modes.ts';
import type { SnapshotChoice } from '../../migration/snapshot-way.ts';
import { type FilesMoved, sendLackingFiles } from '../files/send-files.ts';
import { logToCarry } from '../logs.ts';
import type { Jail } from '../sandboxes/jailors.ts';
import { putMemoryLimitBack } from '../sandboxes/memory-limit.ts';
import { uncarry } from './carried-error.ts';
import { type Ending, failedEnding, type History } from './history.ts';
import { inheritedPipes } from './inherited-pipes.ts';
import type { ChannelAddress, Inspection, JobOutcome, JobProgress } from './job.ts';
import { lagMessage } from './lag-message.ts';
import { checkMemoryLimit, ownMemoryBytes } from './memory-needs.ts';
import { checkKernel } from './mode-needs.ts';
import { planMigration } from './plan.ts';
import { announceMigration, endMigration, openRecordChannel, ownershipOver } from './record.ts';
import { checkSnapshot } from './snapshot-choice.ts';
import type { MigrationWorld } from './world.ts';
import { machineFiles, writtenPaths } from './written-paths.ts';

/** Of the whole migration, where the request names none. */
const DEFAULT_DEADLINE_MS = 60_000;

export type OutgoingWorld = MigrationWorld & {
  readonly peer: (vm: string, endpoint: string) => Client<typeof Sdaemon>;
  readonly history: History;
};

/** How it ended, where it did not move: thrown, with where the sandbox runs. */
export class MigrationFailure extends Error {
  override readonly cause: Error;
  /** Empty: nowhere until an operator looks. */
  readonly runsOn: string;

  constructor(cause: Error, runsOn: string) {
    super(cause.message);
    this.cause = cause;
    this.runsOn = runsOn;
  }
}

/** It runs where it was to run, though not by this migration's end. */
class TakenOverFailure extends MigrationFailure {}

export type MovedResult = Extract<JobOutcome, { outcome: 'moved' }> & {
  /** Why it was moved in another mode than the one that was asked for. */
  readonly because?: ComicranError;
  readonly files: FilesMoved;
};

export type FallBack = {
  readonly fromMode: ModeName;
  readonly toMode: ModeName;
  readonly code: string;
  readonly reason: string;
};

/** Told of a migration while it is under way. */
export type MigrationListener = {
  readonly onProgress: (progress: JobProgress) => void;
  readonly onFallback: (fallBack: FallBack) => void;
};

/** What says that a process cannot be replicated, or not now, and can be moved in another mode all the same. */
const FALLBACK_CODES: ReadonlySet<string> = new Set([
  'replication.diverged',
  'replication.overrun',
  'replication.unsuitable',
  'replication.lagging',
]);
/** How often a copy is begun that loses an input. */
const COPY_TRIES = 3;
/** How long a destination is given to take away what it has prepared. */
const DISCARD_MS = 1_000;
/** How long a sandbox takes to be taken down whose process has ended. */
const ENDING_MS = 3_000;
/** What a destination does with the whole copy of a source that it hears no more; the first where nothing is asked for. */
const TAKE_OVERS = ['ask', 'never'] as const;
/** Where none is asked for: the first of these that there is. */
const FALLBACKS: ReadonlySet<string> = new Set(['precopy', 'stopcopy']);

type UnderWay = {
  readonly controller: AbortController;
  readonly mode: ModeName;
  readonly toVm: string;
  last?: JobProgress;
};

export class Outgoing {
  readonly #world: OutgoingWorld;
  readonly #underWay = new Map<string, UnderWay>();

  constructor(world: OutgoingWorld) {
    this.#world = world;
  }

  /** @throws ComicranError migration.refused where none is under way. */
  abort(name: string): void {
    const underWay = this.#underWay.get(name);
    if (underWay === undefined) {
      throw new ComicranError('migration.refused', `'${name}' is in no migration`, {
        hint: "'comicran smanager migrations' says what became of those that there were.",
      });
    }
    underWay.controller.abort();
  }

  /** How far the migration of a sandbox has got; undefined where there is none. */
  underWay(name: string): MigrationUnderWay | undefined {
    const underWay = this.#underWay.get(name);
    if (underWay === undefined) return undefined;
    const { mode, toVm, last } = underWay;
    const atUs = BigInt(Math.round(last?.atMicros ?? 0));
    const lag = last?.lag === undefined ? {} : { lag: lagMessage(last.lag) };
    return create(MigrationUnderWaySchema, { mode, toVm, phase: last?.phase ?? 'preparing', atUs, ...lag });
  }

  /** A dry run. @throws ComicranError */
  plan(request: PlanMigrationRequest): Promise<PlanMigrationResponse> {
    return planMigration(this.#world, request);
  }

  /**
   * Moves a sandbox, in the mode that is asked for or, where that one turns out not to do, by its fallback. On success it
   * runs on the other machine and nothing of it is left here.
   * @throws MigrationFailure, ComicranError (refused; nothing was touched)
   */
  async migrate(request: MigrateRequest, listener: MigrationListener): Promise<MovedResult> {
    const mode = checkMode(request.mode || MODES[0]);
    const fallback = fallbackOf(mode, request.fallback);
    takeOverOf(request);
    const { history, registry, vm } = this.#world;
    const { name, toVm } = request;
    // What is refused here has not begun.
    const { jail } = registry.expect(name, 'running');
    if (toVm === vm) {
      throw new ComicranError('migration.refused', `'${name}' runs on ${vm} already`, {
        hint: 'Name another machine with --to.',
      });
    }
    await jail.setMoving(true);
    // Another one may have begun meanwhile, and it is that one's then.
    registry.expect(name, 'running');
    const known = history.begin(request);
    try {
      const moved = await this.#migrateOr(fallback, mode, request, listener);
      history.end(known, endingOf(moved));
      return moved;
    } catch (thrown) {
      // One that stands still until an operator looks is left to the operator.
      if (isUnharmed(thrown)) await jail.setMoving(false).catch(() => undefined);
      const why = thrown instanceof MigrationFailure ? thrown.cause : thrown;
      const failed = failedEnding(why, isUnharmed(thrown));
      history.end(known, isTakenOver(thrown) ? { ...failed, end: 'moved', mode } : failed);
      throw thrown;
    }
  }

  async #migrateOr(
    fallback: ModeName | undefined,
    mode: ModeName,
    request: MigrateRequest,
    listener: MigrationListener,
  ): Promise<MovedResult> {
    const beganMs = performance.now();
    try {
      return await this.#migrateAgain(mode, request, listener.onProgress);
    } catch (thrown) {
      const why = thrown instanceof MigrationFailure ? thrown.cause : thrown;
      const canFallBack = why instanceof ComicranError && FALLBACK_CODES.has(why.code) && isUnharmed(thrown);
      if (!canFallBack || fallback === undefined) throw thrown;
      this.#world.log(`${request.name}: falls back to ${fallback}: ${why.message}`);
      listener.onFallback({ fromMode: mode, toMode: fallback, code: why.code, reason: rootOf(why).message });
      const moved = await this.#migrateIn(fallback, request, listener.onProgress);
      // With what the first mode took.
      return { ...moved, totalMicros: (performance.now() - beganMs) * 1000, because: rootOf(why) };
    }
  }

  /** A copy that has lost an input is begun anew: the process has not been touched, and the next moment may be a better one. */
  async #migrateAgain(
    mode: ModeName,
    request: MigrateRequest,
    onProgress: (progress: JobProgress) => void,
  ): Promise<MovedResult> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#migrateIn(mode, request, onProgress);
      } catch (thrown) {
        const why = thrown instanceof MigrationFailure ? thrown.cause : thrown;
        const isLoss = why instanceof ComicranError && why.code === 'replication.overrun';
        if (!isLoss || !isUnharmed(thrown) || tries === COPY_TRIES) throw thrown;
        this.#world.log(`${request.name}: the copy is begun anew: ${rootOf(why).message}`);
      }
    }
  }

  async #migrateIn(
    mode: ModeName,
    request: MigrateRequest,
    onProgress: (progress: JobProgress) => void,
  ): Promise<MovedResult> {
    const { registry, vm } = this.#world;
    const { name, toVm } = request;
    const { config, jail, epoch } = registry.expect(name, 'running');
    const controller = new AbortController();
    const underWay: UnderWay = { controller, mode, toVm };
    this.#underWay.set(name, underWay);
    registry.set(name, { state: 'migrating', config, jail, epoch });
    const migration: Migration = { id: randomUUID(), sandbox: name, mode, source: vm, destination: toVm, epoch };
    let outcome: JobOutcome | undefined;
    let files: FilesMoved | undefined;
    let noted: Promise<void> | undefined;
    try {
      files = await this.#sendFiles(request, config, controller.signal);
      outcome = await this.#carryOut(migration, request, config, jail, controller.signal, (progress) => {
        underWay.last = progress;
        onProgress(progress);
      });
    } catch (thrown) {
      const cause = thrown instanceof Error ? thrown : new Error(messageOf(thrown));
      throw new MigrationFailure(cause, isRunning(jail) ? vm : '');
    } finally {
      this.#underWay.delete(name);
      if (outcome?.outcome !== 'moved' && outcome?.outcome !== 'halted') void endMigration(this.#world, migration);
      if (outcome?.outcome !== 'moved' && outcome?.outcome !== 'taken-over') {
        // The worker that has raised it for a snapshot puts it back; this is for one that could not.
        await putMemoryLimitBack(jail, config, this.#world.log);
        // A process that ended by itself in the middle of a migration is noticed by its own watch from here on.
        const now = outcome?.outcome === 'stayed' ? (outcome.epoch ?? epoch) : epoch;
        registry.set(name, { state: 'running', config, jail, epoch: now });
        noted = this.#world.lifecycle.watch(name, jail);
      }
    }
    if (outcome.outcome === 'moved') {
      await this.#takeDown(name, jail, this.#world.peer(toVm, request.toEndpoint));
      const end = outcome.filled?.ended;
      if (end !== undefined) throw new MigrationFailure(endedThere(migration, end), '');
      return { ...outcome, files };
    }
    if (outcome.outcome === 'taken-over') {
      await this.#takeDown(name, jail, this.#world.peer(toVm, request.toEndpoint));
      throw new TakenOverFailure(uncarry(outcome.error), toVm);
    }
    if (outcome.outcome === 'stayed' && outcome.ended === true) {
      // Whoever is told of it finds it so: its sandbox is taken down, and the record released.
      await Promise.race([noted, pause(ENDING_MS)]);
      throw new MigrationFailure(uncarry(outcome.error), '');
    }
    if (outcome.outcome === 'stayed') throw new MigrationFailure(uncarry(outcome.error), vm);
    if (outcome.outcome === 'halted') throw new MigrationFailure(uncarry(outcome.error), '');
    throw new Error(`a source job ended as ${outcome.outcome}`);
  }

  async #sendFiles({ toVm, toEndpoint }: MigrateRequest, config: FullConfig, signal: AbortSignal): Promise<FilesMoved> {
    const { peer, log } = this.#world;
    const files = await sendLackingFiles(this.#world, peer(toVm, toEndpoint), config, signal);
    const { sentFiles, sentBytes } = files;
    if (sentFiles > 0) log(`${config.id}: ${toVm} lacked ${sentFiles} of its files: ${formatBytes(sentBytes)} sent`);
    return files;
  }

  async #carryOut(
    migration: Migration,
    request: MigrateRequest,
    config: FullConfig,
    jail: Jail,
    signal: AbortSignal,
    onProgress: (progress: JobProgress) => void,
  ): Promise<JobOutcome> {
    const { engine, stateDirectory, peer, address, log } = this.#world;
    const hostPid = jail.state().process?.pid;
    if (hostPid === undefined)
      throw new ComicranError('process.gone', `'${migration.sandbox}' has no process any more`);
    checkKernel(migration.mode);
    checkMemoryLimit(config, ownMemoryBytes(hostPid));
    const inherited = inheritedPipes(jail);
    const written = writtenPaths(config);
    const route = { address: config.network.address, linkName: jail.state().link };
    const destination = peer(request.toVm, request.toEndpoint);

    const asked = checkSnapshot(request.snapshot);
    const looked = await engine.run(
      { side: 'inspect', hostPid, inherited, written, stateDirectory, snapshot: asked },
      { signal },
    );
    if (looked.outcome !== 'inspected') throw failureOf(looked);
    const deadlineMs = request.deadlineMs || DEFAULT_DEADLINE_MS * this.#world.patience;
    const { outputRule } = request;
    const mayBeTakenOver = migration.mode === 'replicated' && takeOverOf(request) === 'ask';
    await announceMigration(this.#world, migration, deadlineMs);
    const { channel, canStage } = await this.#prepare(destination, migration, config, looked, request, jail.state());
    const snapshot: SnapshotChoice =
      looked.snapshot.way === 'tracked' && !canStage
        ? { way: 'fork', why: `${request.toVm} has no room for its memory twice` }
        : looked.snapshot;
    if (signal.aborted) {
      await destination.discardMigration({ migrationId: migration.id });
      throw new ComicranError(
        'aborted',
        `the migration of '${migration.sandbox}' was aborted before it touched anything`,
      );
    }
    log(`${migration.sandbox}: migration ${migration.id} to ${request.toVm} (${migration.mode})`);
    const onNote = (text: string): void => log(`${migration.sandbox}: ${text}`);
    const record = await openRecordChannel(this.#world, migration);
    const outcome = await engine.run(
      {
        ...{ side: 'source', migration, hostPid, route, inherited, written, channel, address, stateDirectory, record },
        machineFiles: machineFiles(config),
        ...{
          deadlineMs,
          patience: this.#world.patience,
          outputRule,
          mayBeTakenOver,
          snapshot,
          cgroup: jail.state().cgroup,
        },
      },
      { onProgress, onNote, signal, ...ownershipOver(this.#world, migration) },
    );
    for (const leftover of outcome.leftovers) log(`${migration.sandbox}: ${uncarry(leftover).message}`);
    if (outcome.outcome === 'moved') log(`${migration.sandbox}: stopped for good, in µs: ${outcome.marks}`);
    if (outcome.outcome !== 'moved') {
      // The destination notices by itself; this spares it the wait, and nobody here has to see the end of that.
      const discarding = destination.discardMigration({ migrationId: migration.id }).catch(() => undefined);
      await Promise.race([discarding, pause(DISCARD_MS)]);
      log(`${migration.sandbox}: migration ${migration.id} ended as ${outcome.outcome}: ${failureOf(outcome).message}`);
    }
    return outcome;
  }

  async #prepare(
    destination: Client<typeof Sdaemon>,
    migration: Migration,
    config: FullConfig,
    looked: Inspection,
    request: MigrateRequest,
    { startedAtMs, restarts }: SandboxState,
  ): Promise<{ readonly channel: ChannelAddress; readonly canStage: boolean }> {
    const { address, port, key, canStage } = await destination.prepareMigration({
      migrationId: migration.id,
      fromVm: migration.source,
      configJson: JSON.stringify(config),
      mode: migration.mode,
      epoch: migration.epoch,
      memoryBytes: BigInt(looked.memoryBytes),
      platformJson: JSON.stringify(looked.platform),
      uncomparedPorts: [...request.uncomparedPorts],
      takeOver: migration.mode === 'replicated' ? takeOverOf(request) : 'never',
      startedUnixMs: BigInt(Math.round(startedAtMs)),
      restarts: restarts.count,
      staged: migration.mode === 'replicated' && looked.snapshot.way === 'tracked',
    });
    return { channel: { address, port, key }, canStage };
  }

  async #takeDown(name: string, jail: Jail, destination: Client<typeof Sdaemon>): Promise<void> {
    const { registry, jailors, publisher, log, stateDirectory } = this.#world;
    try {
      await publisher.unpublish(name);
      // With its end jailor has written down the last that the process said.
      await jail.release();
      const carried = logToCarry(sandboxPaths(stateDirectory, name).log);
      await destination.keepLog({ name, log: carried }).catch((thrown: unknown) => {
        log(`${name}: what it has written here stays here and is lost: ${messageOf(thrown)}`);
      });
      await jailors.forget(name);
    } catch (thrown) {
      log(`${name}: has moved away, but taking it down here failed: ${messageOf(thrown)}`);
    }
    registry.remove(name);
  }
}

/** It had been moved, and ran there. */
function endedThere({ sandbox, destination }: Migration, end: ProcessEnd): ComicranError {
  return new ComicranError(
    'process.gone',
    `the process of ${sandbox} has ended at ${destination}, ${describeEnd(end)}, where it was moved to, before all of its memory was there; it runs nowhere`,
    { hint: `${hintOfEnd(end, destination)} Start it again.` },
  );
}

function endingOf({ mode, because }: MovedResult): Ending {
  return { end: 'moved', mode, code: because?.code ?? '', message: because?.message ?? '' };
}

function checkMode(mode: string): ModeName {
  const known = MODES.find((name) => name === mode);
  if (known !== undefined) return known;
  throw new ComicranError('migration.refused', `there is no mode '${mode}'`, { hint: `Modes: ${MODES.join(', ')}.` });
}

/** @throws ComicranError migration.refused */
function fallbackOf(mode: ModeName, asked: string): ModeName | undefined {
  if (mode !== 'replicated' || asked === 'none') return undefined;
  if (asked !== '') return checkMode(asked);
  return MODES.find((known) => FALLBACKS.has(known));
}

/** Whether the sandbox has a process that runs, as far as its jailor knows. */
function isRunning(jail: Jail): boolean {
  const { process } = jail.state();
  return process !== null && isAlive(process);
}

/** Without the places that it went through: where it ran then is not where it runs now. */
function rootOf(why: ComicranError): ComicranError {
  const { cause } = why;
  return cause instanceof ComicranError && cause.code === why.code ? rootOf(cause) : why;
}

/** The process runs here, and has noticed nothing. */
function isUnharmed(thrown: unknown): boolean {
  return !(thrown instanceof MigrationFailure) || (thrown.runsOn !== '' && !isTakenOver(thrown));
}

const isTakenOver = (thrown: unknown): boolean => thrown instanceof TakenOverFailure;

/** @throws ComicranError migration.refused */
function takeOverOf({ takeOver }: MigrateRequest): (typeof TAKE_OVERS)[number] {
  const known = TAKE_OVERS.find((word) => word === (takeOver || TAKE_OVERS[0]));
  if (known !== undefined) return known;
  throw new ComicranError('migration.refused', `there is no way '${takeOver}' to take over`, {
    hint: `Ways: ${TAKE_OVERS.join(', ')}.`,
  });
}

function failureOf(outcome: JobOutcome): Error {
  return 'error' in outcome ? uncarry(outcome.error) : new Error(`unexpected outcome ${outcome.outcome}`);
}
