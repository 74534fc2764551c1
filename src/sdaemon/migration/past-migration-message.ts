import { create } from '@bufbuild/protobuf';
import { type MigrationRecord, MigrationRecordSchema } from '../../api/gen/comicran_pb.ts';
import type { PastMigration } from './history.ts';
import type { Outgoing } from './outgoing.ts';

/** A migration as the RPC tells it. @param fromVm this machine. */
export function pastMigrationMessage(
  past: PastMigration,
  fromVm: string,
  outgoing: Pick<Outgoing, 'underWay'>,
): MigrationRecord {
  const { sandbox, toVm, requestedMode, mode, startedUnixMs, endedUnixMs, end, code, message } = past;
  const underWay = end === null ? outgoing.underWay(sandbox) : undefined;
  return create(MigrationRecordSchema, {
    ...{ name: sandbox, fromVm, toVm, requestedMode, mode: underWay?.mode ?? mode, code, message, end: end ?? '' },
    startedUnixMs: BigInt(Math.round(startedUnixMs)),
    endedUnixMs: BigInt(Math.round(endedUnixMs ?? 0)),
    ...(underWay === undefined ? {} : { underWay }),
  });
}
