/** A dry run: in which modes a sandbox can be moved, and about how long that would take. Nothing is changed. */
import { readdirSync } from 'node:fs';
import { release } from 'node:os';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type PlanMigrationRequest,
  type PlanMigrationResponse,
  PlanMigrationResponseSchema,
  type PlannedModeSchema,
} from '../../api/gen/comicran_pb.ts';
import { ComicranError, messageOf } from '../../base/errors.ts';
import { MODES, type ModeName } from '../../migration/modes.ts';
import { uncarry } from './carried-error.ts';
import { inheritedPipes } from './inherited-pipes.ts';
import type { OutgoingWorld } from './outgoing.ts';

/** What a process has that takes time to move. */
export type Size = { readonly memoryBytes: number; readonly threads: number; readonly descriptors: number };

export type Estimate = { readonly stopMicros: number; readonly totalMicros: number; readonly freezeMicros?: number };

/** Memory that one machine reads, encrypts and sends while the other writes it; bytes a microsecond. */
const COPY_RATE = 400;
/** Making the skeleton and opening the channel. */
const PREPARE_MICROS = 250_000;
/** Stopping, and building the process anew; without its pages. */
const ENGINE_MICROS = 8_000;
const THREAD_MICROS = 400;
const DESCRIPTOR_MICROS = 100;

const ESTIMATES: Readonly<Record<ModeName, (size: Size) => Estimate>> = {
  stopcopy: ({ memoryBytes, threads, descriptors }) => {
    const engine = ENGINE_MICROS + threads * THREAD_MICROS + descriptors * DESCRIPTOR_MICROS;
    const stopMicros = engine + memoryBytes / COPY_RATE;
    return { stopMicros, totalMicros: stopMicros + PREPARE_MICROS };
  },
};

/** Orders of magnitude: is it milliseconds, seconds or minutes? */
function estimate(mode: ModeName, size: Size): Estimate {
  return ESTIMATES[mode](size);
}

type Refusal = Pick<MessageInitShape<typeof PlannedModeSchema>, 'code' | 'whyNot' | 'hint'>;

function refusalOf(thrown: unknown): Refusal {
  const known = thrown instanceof ComicranError ? thrown : undefined;
  return { code: known?.code ?? 'migration.refused', whyNot: messageOf(thrown), hint: known?.hint ?? '' };
}

function sizeOf(hostPid: number, memoryBytes: number): Size {
  const count = (what: string): number => readdirSync(`/proc/${hostPid}/${what}`).length;
  return { memoryBytes, threads: count('task'), descriptors: count('fd') };
}

/** @throws ComicranError where no migration of this name could even be thought of; what a mode lacks is in the answer. */
export async function planMigration(
  world: OutgoingWorld,
  { name, toVm, toEndpoint, mode }: PlanMigrationRequest,
): Promise<PlanMigrationResponse> {
  const { registry, engine, peer, stateDirectory, vm } = world;
  const { jail } = registry.expect(name, 'running');
  const asked = MODES.filter((known) => mode === '' || known === mode);
  if (asked.length === 0) {
    throw new ComicranError('migration.refused', `there is no mode '${mode}'`, { hint: `Modes: ${MODES.join(', ')}.` });
  }
  if (toVm === vm) {
    throw new ComicranError('migration.refused', `'${name}' runs on ${vm} already`, {
      hint: 'Name another machine with --to.',
    });
  }
  const hostPid = jail.state().process?.pid;
  if (hostPid === undefined) throw new ComicranError('process.gone', `'${name}' has no process any more`);
  let refusal: Refusal | undefined;
  let size: Size = sizeOf(hostPid, 0);
  const looked = await engine.run({ side: 'inspect', hostPid, inherited: inheritedPipes(jail), stateDirectory }, {});
  if (looked.outcome === 'inspected') size = sizeOf(hostPid, looked.memoryBytes);
  else if ('error' in looked) refusal = refusalOf(uncarry(looked.error));
  if (refusal === undefined) {
    const there = await peer(toVm, toEndpoint).info({});
    if (there.kernel !== release()) {
      refusal = refusalOf(
        new ComicranError('image.kernel-mismatch', `${vm} runs kernel ${release()}, ${toVm} runs ${there.kernel}`),
      );
    }
  }
  return create(PlanMigrationResponseSchema, {
    modes: asked.map((each) => plannedMode(each, size, refusal)),
    memoryBytes: BigInt(size.memoryBytes),
    threads: size.threads,
    descriptors: size.descriptors,
  });
}

function plannedMode(
  mode: ModeName,
  size: Size,
  refusal: Refusal | undefined,
): MessageInitShape<typeof PlannedModeSchema> {
  if (refusal !== undefined) return { mode, possible: false, ...refusal };
  const micros = (value: number): bigint => BigInt(Math.round(value));
  const { stopMicros, totalMicros, freezeMicros } = estimate(mode, size);
  const freeze = freezeMicros === undefined ? {} : { freezeUs: micros(freezeMicros) };
  return { mode, possible: true, ...freeze, stopUs: micros(stopMicros), totalUs: micros(totalMicros) };
}
