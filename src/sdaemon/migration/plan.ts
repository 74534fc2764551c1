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
import { readProc, StatusFile } from '../../linux/procfs.ts';
import { MODES, type ModeName } from '../../migration/modes.ts';
import { checkEligible } from '../../replication/eligibility.ts';
import { describeProcess } from '../replication/describe-process.ts';
import { uncarry } from './carried-error.ts';
import { inheritedPipes } from './inherited-pipes.ts';
import { checkKernel } from './mode-needs.ts';
import type { OutgoingWorld } from './outgoing.ts';

/** What a process has that takes time to move. */
type Size = { readonly memoryBytes: number; readonly threads: number; readonly descriptors: number };

type Estimate = { readonly stopMicros: number; readonly totalMicros: number; readonly freezeMicros?: number };

/** Memory that one machine reads, encrypts and sends while the other writes it; bytes a microsecond. */
const COPY_RATE = 400;
/** Making the skeleton and opening the channel. */
const PREPARE_MICROS = 250_000;
/** The record, the route, and until the copy has shown that it keeps up. */
const CUTOVER_MICROS = 1_000;
const SETTLE_MICROS = 50_000;
/** Writable pages that are left for the last round, where it converges. */
const LAST_ROUND_BYTES = 4 << 20;
/** What the kernel does for each byte of a process that is forked: page tables. */
const FORK_RATE = 100_000;

/** Stopping the threads and reading what is not memory. */
const freezeMicros = ({ threads, descriptors }: Size): number => 600 + threads * 100 + descriptors * 15;
/** Building the process anew, without its pages. */
const buildMicros = ({ threads, descriptors }: Size): number => 6_000 + threads * 400 + descriptors * 100;

/** From sizes measured on a small virtual machine; a mode that is not here has no estimate. */
const ESTIMATES: Readonly<Record<string, (size: Size) => Estimate>> = {
  replicated: (size) => {
    const freeze = freezeMicros(size) + size.memoryBytes / FORK_RATE;
    const copying = buildMicros(size) + size.memoryBytes / COPY_RATE;
    return {
      freezeMicros: freeze,
      stopMicros: freeze + CUTOVER_MICROS,
      totalMicros: PREPARE_MICROS + freeze + copying + SETTLE_MICROS,
    };
  },
  postcopy: (size) => {
    const stopMicros = freezeMicros(size) + buildMicros(size) + CUTOVER_MICROS;
    return { stopMicros, totalMicros: PREPARE_MICROS + stopMicros + size.memoryBytes / COPY_RATE };
  },
  precopy: (size) => {
    const lastRound = Math.min(size.memoryBytes, LAST_ROUND_BYTES) / COPY_RATE;
    const stopMicros = freezeMicros(size) + buildMicros(size) + lastRound + CUTOVER_MICROS;
    return { stopMicros, totalMicros: PREPARE_MICROS + stopMicros + size.memoryBytes / COPY_RATE };
  },
  stopcopy: (size) => {
    const stopMicros = freezeMicros(size) + buildMicros(size) + size.memoryBytes / COPY_RATE + CUTOVER_MICROS;
    return { stopMicros, totalMicros: PREPARE_MICROS + stopMicros };
  },
};

type Refusal = Pick<MessageInitShape<typeof PlannedModeSchema>, 'code' | 'whyNot' | 'hint'>;

function refusalOf(thrown: unknown): Refusal {
  const known = thrown instanceof ComicranError ? thrown : undefined;
  return { code: known?.code ?? 'migration.refused', whyNot: messageOf(thrown), hint: known?.hint ?? '' };
}

/** Memory of its own: what it shares with a file is not sent. */
function sizeOf(hostPid: number): Size {
  const count = (what: string): number => readdirSync(`/proc/${hostPid}/${what}`).length;
  const kib = Number.parseInt(new StatusFile(readProc(hostPid, 'status')).text('RssAnon'), 10);
  return { memoryBytes: kib * 1024, threads: count('task'), descriptors: count('fd') };
}

/** @throws ComicranError where no migration of this name could even be thought of; what a mode lacks is in the answer. */
export async function planMigration(
  world: OutgoingWorld,
  { name, toVm, toEndpoint, mode }: PlanMigrationRequest,
): Promise<PlanMigrationResponse> {
  const { registry, engine, peer, stateDirectory, vm } = world;
  const { jail, config } = registry.expect(name, 'running');
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
  const size = sizeOf(hostPid);
  const looked = await engine.run({ side: 'inspect', hostPid, inherited: inheritedPipes(jail), stateDirectory }, {});
  if ('error' in looked) refusal = refusalOf(uncarry(looked.error));
  if (refusal === undefined) {
    const there = await peer(toVm, toEndpoint).info({});
    if (there.kernel !== release()) {
      refusal = refusalOf(
        new ComicranError('image.kernel-mismatch', `${vm} runs kernel ${release()}, ${toVm} runs ${there.kernel}`),
      );
    }
  }
  return create(PlanMigrationResponseSchema, {
    modes: asked.map((each) => plannedMode(each, size, refusal ?? ownRefusal(each, hostPid, config.network.address))),
    memoryBytes: BigInt(size.memoryBytes),
    threads: size.threads,
    descriptors: size.descriptors,
  });
}

/** What a mode asks beyond what all of them do. */
function ownRefusal(mode: ModeName, hostPid: number, address: string): Refusal | undefined {
  try {
    checkKernel(mode);
    if (mode === 'replicated') checkEligible(describeProcess(hostPid, address, 0));
    return undefined;
  } catch (thrown) {
    if (thrown instanceof ComicranError) return refusalOf(thrown);
    throw thrown;
  }
}

function plannedMode(
  mode: ModeName,
  size: Size,
  refusal: Refusal | undefined,
): MessageInitShape<typeof PlannedModeSchema> {
  if (refusal !== undefined) return { mode, possible: false, ...refusal };
  const micros = (value: number): bigint => BigInt(Math.round(value));
  const estimate = ESTIMATES[mode]?.(size);
  if (estimate === undefined) return { mode, possible: true };
  const freeze = estimate.freezeMicros === undefined ? {} : { freezeUs: micros(estimate.freezeMicros) };
  const { stopMicros, totalMicros } = estimate;
  return { mode, possible: true, ...freeze, stopUs: micros(stopMicros), totalUs: micros(totalMicros) };
}
