/** A dry run: in which modes a sandbox can be moved, and about how long that would take. Nothing is changed. */
import { readdirSync } from 'node:fs';
import { cpus, loadavg, release } from 'node:os';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type PlanMigrationRequest,
  type PlanMigrationResponse,
  PlanMigrationResponseSchema,
  type PlannedModeSchema,
} from '../../api/gen/comicran_pb.ts';
import { ComicranError, messageOf } from '../../base/errors.ts';
import type { FullConfig } from '../../base/sandbox-config.ts';
import { checkMovable } from '../../jailor/index.ts';
import { MODES, type ModeName } from '../../migration/modes.ts';
import { checkEligible } from '../../replication/eligibility.ts';
import { describeProcess } from '../replication/describe-process.ts';
import { uncarry } from './carried-error.ts';
import { estimate, type ProcessSize, plannedSnapshot } from './estimate.ts';
import { inheritedPipes } from './inherited-pipes.ts';
import type { Inspection } from './job.ts';
import { checkMemoryLimit, ownMemoryBytes } from './memory-needs.ts';
import { checkKernel } from './mode-needs.ts';
import type { OutgoingWorld } from './outgoing.ts';
import { checkSnapshot } from './snapshot-choice.ts';
import { machineFiles, writtenPaths } from './written-paths.ts';

type Refusal = Pick<MessageInitShape<typeof PlannedModeSchema>, 'code' | 'whyNot' | 'hint'>;

function refusalOf(thrown: unknown): Refusal {
  const known = thrown instanceof ComicranError ? thrown : undefined;
  return { code: known?.code ?? 'migration.refused', whyNot: messageOf(thrown), hint: known?.hint ?? '' };
}

const UNKNOWN_SIZE: ProcessSize = {
  memoryBytes: 0,
  smallPageBytes: 0,
  snapshot: undefined,
  threads: 0,
  descriptors: 0,
};

function sizeOf(hostPid: number, looked: Partial<Inspection>): ProcessSize {
  const count = (what: string): number => readdirSync(`/proc/${hostPid}/${what}`).length;
  const memoryBytes = ownMemoryBytes(hostPid);
  const { smallPageBytes = memoryBytes, snapshot } = looked;
  return { ...{ memoryBytes, smallPageBytes, snapshot }, threads: count('task'), descriptors: count('fd') };
}

/** @throws ComicranError where no migration of this name could even be thought of; what a mode lacks is in the answer. */
export async function planMigration(
  world: OutgoingWorld,
  { name, toVm, toEndpoint, mode, snapshot }: PlanMigrationRequest,
): Promise<PlanMigrationResponse> {
  const { registry, engine, peer, stateDirectory, vm } = world;
  const { jail, config } = registry.expect(name, 'running');
  const modes = MODES.filter((known) => mode === '' || known === mode);
  if (modes.length === 0) {
    throw new ComicranError('migration.refused', `there is no mode '${mode}'`, { hint: `Modes: ${MODES.join(', ')}.` });
  }
  if (toVm === vm) {
    throw new ComicranError('migration.refused', `'${name}' runs on ${vm} already`, {
      hint: 'Name another machine with --to.',
    });
  }
  const hostPid = jail.state().process?.pid;
  // One that is frozen, waits for its restart or is being looked into: as it is said when it is to be moved.
  let refusal = refusalBy(() => checkMovable(jail.state(), Date.now()));
  if (refusal !== undefined)
    return planOf(modes, hostPid === undefined ? UNKNOWN_SIZE : sizeOf(hostPid, {}), () => refusal);
  if (hostPid === undefined) throw new ComicranError('process.gone', `'${name}' has no process any more`);
  const asked = { inherited: inheritedPipes(jail), written: writtenPaths(config), snapshot: checkSnapshot(snapshot) };
  const looked = await engine.run({ side: 'inspect', hostPid, stateDirectory, ...asked }, {});
  const size = sizeOf(hostPid, looked.outcome === 'inspected' ? looked : {});
  if ('error' in looked) refusal = refusalOf(uncarry(looked.error));
  refusal ??= refusalBy(() => checkMemoryLimit(config, size.memoryBytes));
  if (refusal === undefined) {
    const there = await peer(toVm, toEndpoint).info({});
    if (there.kernel !== release()) {
      refusal = refusalOf(
        new ComicranError('image.kernel-mismatch', `${vm} runs kernel ${release()}, ${toVm} runs ${there.kernel}`),
      );
    }
  }
  return planOf(modes, size, (each) => refusal ?? ownRefusal(each, hostPid, config));
}

function planOf(
  modes: readonly ModeName[],
  size: ProcessSize,
  refusal: (mode: ModeName) => Refusal | undefined,
): PlanMigrationResponse {
  const loadPerCpu = loadavg()[0]! / cpus().length;
  return create(PlanMigrationResponseSchema, {
    modes: modes.map((each) => plannedMode(each, size, loadPerCpu, refusal(each))),
    loadPerCpu,
    memoryBytes: BigInt(size.memoryBytes),
    threads: size.threads,
    descriptors: size.descriptors,
  });
}

/** What a mode asks beyond what all of them do. */
function ownRefusal(mode: ModeName, hostPid: number, config: FullConfig): Refusal | undefined {
  return refusalBy(() => {
    checkKernel(mode);
    if (mode === 'replicated') {
      const { address } = config.network;
      checkEligible(describeProcess({ pid: hostPid, address, machineFiles: machineFiles(config) }));
    }
  });
}

/** What a check says, as a part of the answer. */
function refusalBy(check: () => void): Refusal | undefined {
  try {
    check();
    return undefined;
  } catch (thrown) {
    if (thrown instanceof ComicranError) return refusalOf(thrown);
    throw thrown;
  }
}

function plannedMode(
  mode: ModeName,
  size: ProcessSize,
  busy: number,
  refusal: Refusal | undefined,
): MessageInitShape<typeof PlannedModeSchema> {
  if (refusal !== undefined) return { mode, possible: false, ...refusal };
  const { freeze, stop, total } = estimate(mode, size, busy);
  const micros = (value: number): bigint => BigInt(Math.round(value));
  return {
    ...{ mode, possible: true },
    ...(freeze === undefined ? {} : { freezeUs: micros(freeze.least), freezeMaxUs: micros(freeze.most) }),
    ...{ stopUs: micros(stop.least), stopMaxUs: micros(stop.most) },
    ...{ totalUs: micros(total.least), totalMaxUs: micros(total.most) },
    ...(mode === 'replicated' ? plannedSnapshot(size) : {}),
  };
}
