import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { readPath, readPid, readPidOrNone, readUpTo } from '../fields.ts';
import type { IdRangeImage, ProcessRecord } from '../types.ts';

export const PROCESS_VERSION = 2;
const MAX_LIMITS = 32;
/** Of a user namespace, user_namespaces(7). */
const MAX_ID_RANGES = 340;
const MAX_FILTERS = 1024;
const INSTRUCTION_BYTES = 8;
const MAX_FILTER_BYTES = 4096 * INSTRUCTION_BYTES;

export function writeProcess(writer: ByteWriter, image: ProcessRecord): void {
  writer.u32(image.pid).u32(image.processGroup).u32(image.session);
  writer.text(image.executable).text(image.workingDirectory);
  writer.u32(image.umask).u32(image.personality);
  writer.bool(image.dumpable).bool(image.childSubreaper).bool(image.transparentHugePagesDisabled);
  writer.i32(image.oomScoreAdjust).u64(image.grantedStateMask);
  writer.list(image.seccompFilters, (filter) => writer.bytes(filter));
  writer.list(image.limits, ({ soft, hard }) => writer.u64(soft).u64(hard));
  for (const ranges of [image.ids.users, image.ids.groups])
    writer.list(ranges, ({ inside, outside, count }) => writer.u32(inside).u32(outside).u32(count));
}

function readIdRanges(reader: ByteReader): IdRangeImage[] {
  return reader.list(() => ({ inside: reader.u32(), outside: reader.u32(), count: reader.u32() }), MAX_ID_RANGES);
}

function readFilter(reader: ByteReader): Buffer {
  const filter = reader.bytes(MAX_FILTER_BYTES);
  if (filter.length === 0 || filter.length % INSTRUCTION_BYTES !== 0) reader.fail(`a filter of ${filter.length} bytes`);
  return filter;
}

export function readProcess(reader: ByteReader): ProcessRecord {
  const record = {
    pid: readPid(reader, 'PID'),
    processGroup: readPidOrNone(reader, 'process group'),
    session: readPidOrNone(reader, 'session'),
    executable: readPath(reader, 'executable'),
    workingDirectory: readPath(reader, 'working directory'),
    umask: readUpTo(reader, 0o777, 'umask'),
    personality: reader.u32(),
    dumpable: reader.bool(),
    childSubreaper: reader.bool(),
    transparentHugePagesDisabled: reader.bool(),
    oomScoreAdjust: reader.i32(),
    grantedStateMask: reader.u64(),
    seccompFilters: reader.list(() => readFilter(reader), MAX_FILTERS),
    limits: reader.list(() => ({ soft: reader.u64(), hard: reader.u64() }), MAX_LIMITS),
    ids: { users: readIdRanges(reader), groups: readIdRanges(reader) },
  };
  if (Math.abs(record.oomScoreAdjust) > 1000) reader.fail(`OOM score adjustment ${record.oomScoreAdjust}`);
  return record;
}
