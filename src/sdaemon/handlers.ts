/** The RPC of a machine's daemon: thin, each hands over to what does the work. */
import { release } from 'node:os';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { ConnectRouter } from '@connectrpc/connect';
import {
  FailureSchema,
  type MigrateRequest,
  type MigrationEventSchema,
  type MigrationResult,
  MigrationResultSchema,
  PhaseEventSchema,
  PhaseTimeSchema,
  Sdaemon,
} from '../api/gen/comicran_pb.ts';
import { requireActsFor } from '../api/server.ts';
import { ComicranError, messageOf } from '../base/errors.ts';
import { parseFullConfig } from '../base/full-config.ts';
import type { FullConfig } from '../base/sandbox-config.ts';
import { sandboxPaths } from '../jailor/index.ts';
import { storeDirectory } from '../jailor/naming.ts';
import { execInSandbox } from './exec.ts';
import type { Arrivals } from './files/arrivals.ts';
import { fileUseMessage, storeMessage } from './files/messages.ts';
import { keepCarriedLog, readLog } from './logs.ts';
import type { History } from './migration/history.ts';
import type { Incoming } from './migration/incoming.ts';
import type { JobProgress } from './migration/job.ts';
import { lagMessage } from './migration/lag-message.ts';
import { MigrationFailure, type MovedResult, type Outgoing } from './migration/outgoing.ts';
import { pastMigrationMessage } from './migration/past-migration-message.ts';
import { snapshotFields } from './migration/snapshot-choice.ts';
import { takeoverMessage } from './migration/takeover-message.ts';
import { checkName, type Lifecycle } from './sandboxes/lifecycle.ts';
import { waitForPorts } from './sandboxes/ports-bound.ts';
import type { Registry } from './sandboxes/registry.ts';
import { sandboxMessage } from './sandboxes/sandbox-message.ts';

export type HandlerWorld = {
  readonly vm: string;
  readonly address: string;
  readonly version: string;
  readonly stateDirectory: string;
  readonly registry: Registry;
  readonly lifecycle: Lifecycle;
  readonly outgoing: Outgoing;
  readonly incoming: Incoming;
  readonly history: History;
  readonly arrivals: Arrivals;
};

const DEFAULT_GRACE_MS = 5_000;
const SIGTERM = 15;

type EventInit = MessageInitShape<typeof MigrationEventSchema>;

const micros = (value: number): bigint => BigInt(Math.round(value));

function progressEvent(progress: JobProgress): EventInit {
  const { phase, atMicros, doneBytes, totalBytes, note = '', lag, missingBytes } = progress;
  const value = {
    ...{ phase, note, atUs: micros(atMicros), doneBytes: BigInt(doneBytes), totalBytes: BigInt(totalBytes) },
    ...(lag === undefined ? {} : { lag: lagMessage(lag) }),
    ...(missingBytes === undefined ? {} : { missingBytes: BigInt(missingBytes) }),
  };
  return { event: { case: 'phase', value: create(PhaseEventSchema, value) } };
}

function resultMessage(result: MovedResult, fromVm: string, request: MigrateRequest): MigrationResult {
  return create(MigrationResultSchema, {
    mode: result.mode,
    requestedMode: request.mode,
    fromVm,
    toVm: request.toVm,
    totalUs: micros(result.totalMicros),
    stopUs: micros(result.stopMicros),
    pages: BigInt(result.pages),
    bytes: BigInt(result.pageBytes + result.imageBytes),
    datagramsCarried: BigInt(result.datagrams.carried),
    datagramsDropped: BigInt(result.datagrams.dropped),
    datagramsConfirmed: result.datagrams.confirmed,
    epoch: result.epoch,
    reasonCode: result.because?.code ?? '',
    reason: result.because?.message ?? '',
    filesSent: BigInt(result.files.sentFiles),
    fileBytesSent: BigInt(result.files.sentBytes),
    fileBytesCopied: BigInt(result.files.copiedBytes),
    ...replicationFields(result),
    ...snapshotFields(result.replication?.choice),
    ...(result.filled === undefined ? {} : { pageFaults: BigInt(result.filled.faults) }),
    ...(result.rounds === undefined ? {} : { rounds: BigInt(result.rounds) }),
    phases: result.phases.map(({ phase, startMicros, durationMicros }) =>
      create(PhaseTimeSchema, { phase, startUs: micros(startMicros), durationUs: micros(durationMicros) }),
    ),
  });
}

function replicationFields({ replication, datagrams }: MovedResult): Record<string, bigint> {
  if (replication === undefined) return {};
  const { freezeMicros, cutoverMicros, replayed, compared, released, lagMax } = replication;
  return {
    freezeUs: micros(freezeMicros),
    ...(cutoverMicros === undefined ? {} : { cutoverUs: micros(cutoverMicros) }),
    inputsReplayed: BigInt(replayed),
    outputsCompared: BigInt(compared),
    outputsReleased: BigInt(released),
    stragglers: BigInt(datagrams.carried),
    lagMax: BigInt(lagMax),
  };
}

function failureEvent(thrown: MigrationFailure): EventInit {
  const { cause, runsOn } = thrown;
  const known = cause instanceof ComicranError ? cause : undefined;
  const causes: string[] = [];
  for (let error = cause.cause; error instanceof Error && causes.length < 8; error = error.cause)
    causes.push(error.message);
  const value = {
    code: known?.code ?? 'migration.failed',
    message: cause.message,
    hint: known?.hint ?? '',
    runsOn,
    causes,
  };
  return { event: { case: 'failure', value: create(FailureSchema, value) } };
}

/** Progress as it comes, then the result or the failure. A caller that hangs up does not end the migration. */
async function* migrate(world: HandlerWorld, request: MigrateRequest): AsyncGenerator<EventInit> {
  const waiting: EventInit[] = [];
  let wake = Promise.withResolvers<void>();
  const beganMs = performance.now();
  const sinceBegin = (): bigint => micros((performance.now() - beganMs) * 1000);
  const tell = (event: EventInit): void => {
    waiting.push(event);
    wake.resolve();
  };
  const moved = world.incoming
    .whole(request.name)
    .then(() =>
      world.outgoing.migrate(request, {
        onProgress: (progress) => tell(progressEvent(progress)),
        onFallback: (fallBack) => tell({ event: { case: 'fallback', value: { ...fallBack, atUs: sinceBegin() } } }),
      }),
    )
    .then(
      (result): EventInit => ({ event: { case: 'result', value: resultMessage(result, world.vm, request) } }),
      (thrown: unknown): EventInit => {
        if (thrown instanceof MigrationFailure) return failureEvent(thrown);
        throw thrown;
      },
    );
  let last: EventInit | undefined;
  const ended = moved.then((event) => {
    last = event;
    wake.resolve();
  });
  // Seen by the await below; a caller that is gone does not come there.
  ended.catch(() => wake.resolve());
  while (last === undefined) {
    await Promise.race([wake.promise, ended]);
    wake = Promise.withResolvers<void>();
    yield* waiting.splice(0);
  }
  yield* waiting.splice(0);
  yield last;
}

/** How many lines of a process that has ended at once are worth telling. */
const LAST_WORDS = 3;

function untilItListens({ vm, registry, stateDirectory }: HandlerWorld, config: FullConfig, waitMs: number) {
  const { id, network } = config;
  return waitForPorts({
    ...{ id, vm, ports: network.ports, waitMs },
    look() {
      const entry = registry.find(id);
      if (entry?.state === 'stopped') return { pid: undefined, exit: entry.exit };
      // Terminated meanwhile.
      if (entry === undefined) return { pid: undefined, exit: { reason: 'terminated', code: null, signal: null } };
      return { pid: 'jail' in entry ? entry.jail?.state().process?.pid : undefined, exit: undefined };
    },
    async lastWords() {
      const { log } = sandboxPaths(stateDirectory, id);
      const options = { tail: LAST_WORDS, follow: false, signal: AbortSignal.abort() };
      const words: string[] = [];
      for await (const { text } of readLog(log, options)) words.push(text);
      return words;
    },
  });
}

export function sdaemonRoutes(router: ConnectRouter, world: HandlerWorld): void {
  const { vm, address, version, stateDirectory, registry, lifecycle, outgoing, incoming, history, arrivals } = world;
  const message = (name: string) => sandboxMessage(name, registry.get(name), outgoing.underWay(name));
  router.service(Sdaemon, {
    info: () => ({ vm, address, version, kernel: release(), sandboxes: registry.all().length }),
    async start({ configJson, waitMs }) {
      const config = parseFullConfig(configJson, 'the configuration');
      const files = await lifecycle.start(config);
      if (waitMs > 0) await untilItListens(world, config, waitMs);
      return { sandbox: message(config.id), ...(files === null ? {} : { files: fileUseMessage(files) }) };
    },
    async terminate({ name, signal, graceMs }) {
      checkName(name);
      const exit = await lifecycle.terminate(name, signal || SIGTERM, graceMs || DEFAULT_GRACE_MS);
      return {
        ...(exit.code === null ? {} : { exitCode: exit.code }),
        ...(exit.signal === null ? {} : { exitSignal: exit.signal }),
      };
    },
    async stop({ name, signal, graceMs }) {
      checkName(name);
      const exit = await lifecycle.stop(name, signal || SIGTERM, graceMs || DEFAULT_GRACE_MS);
      return {
        ...(exit.code === null ? {} : { exitCode: exit.code }),
        ...(exit.signal === null ? {} : { exitSignal: exit.signal }),
      };
    },
    async freeze({ name }) {
      checkName(name);
      await registry.expect(name, 'running').jail.freeze();
      return {};
    },
    async thaw({ name }) {
      checkName(name);
      await registry.expect(name, 'running').jail.thaw();
      return {};
    },
    exec: (inputs, context) => execInSandbox(world, inputs, context.signal),
    list: () => ({ sandboxes: registry.all().map(([name]) => message(name)) }),
    inspect({ name }) {
      checkName(name);
      const entry = registry.get(name);
      const state = entry.state === 'stopped' ? entry.last : 'jail' in entry ? entry.jail?.state() : undefined;
      return {
        sandbox: message(name),
        configJson: JSON.stringify(entry.config),
        stateJson: state === undefined ? '' : JSON.stringify(state),
      };
    },
    async *logs({ name, follow, tail }, context) {
      checkName(name);
      registry.get(name);
      const { log } = sandboxPaths(stateDirectory, name);
      for await (const line of readLog(log, { tail, follow, signal: context.signal })) {
        yield { unixUs: BigInt(line.unixUs), stream: line.stream, text: line.text, more: line.more };
      }
    },
    migrate: (request) => {
      checkName(request.name);
      return migrate(world, request);
    },
    async planMigration(request) {
      checkName(request.name);
      return await outgoing.plan(request);
    },
    listMigrations({ name }) {
      const asked = history.all().filter(({ sandbox }) => name === '' || sandbox === name);
      return { migrations: asked.map((one) => pastMigrationMessage(one, vm, outgoing)) };
    },
    async takeOver({ name, fromVm, machineIsOff }) {
      checkName(name);
      return takeoverMessage(await incoming.takeOver(name, { fromVm, machineIsOff }));
    },
    abortMigration({ name }) {
      checkName(name);
      outgoing.abort(name);
      return {};
    },
    store: ({ prune }) => storeMessage(storeDirectory(stateDirectory), prune, arrivals),
    async lackingFiles({ configJson }) {
      const { lacking, copiedBytes } = await arrivals.lacking(configJson);
      return { lacking, copiedBytes: BigInt(copiedBytes) };
    },
    async putFilePart(request, context) {
      requireActsFor(context, request.fromVm);
      await arrivals.put(request);
      return {};
    },
    async prepareMigration(request, context) {
      requireActsFor(context, request.fromVm);
      const prepared = await incoming.prepare(request);
      arrivals.settled(request.configJson);
      return prepared;
    },
    async keepLog({ name, log }) {
      checkName(name);
      // Its answer tells the source that the sandbox is wholly here.
      await incoming.settled(name);
      registry.get(name);
      keepCarriedLog(sandboxPaths(stateDirectory, name).log, log);
      return {};
    },
    async discardMigration({ migrationId }) {
      await incoming.discard(migrationId);
      return {};
    },
  });
}

/** For the daemon's log: a handler's failure that is a bug. */
export function describeBug(call: string, thrown: unknown): string {
  return `${call}: ${thrown instanceof Error ? (thrown.stack ?? thrown.message) : messageOf(thrown)}`;
}
