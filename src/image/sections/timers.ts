import { unreachable } from '../../base/assert.ts';
import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { readPid, readUpTo } from '../fields.ts';
import type { IntervalTimer, PosixTimer, TimerImage, TimerNotification } from '../types.ts';

export const TIMERS_VERSION = 1;
const MAX_TIMERS = 1 << 16;
const NOTIFY_NONE = 0;
const NOTIFY_SIGNAL = 1;
const NOTIFY_THREAD = 2;

export function writeTimers(writer: ByteWriter, image: TimerImage): void {
  writer.list(image.posix, (timer) => {
    writer.u32(timer.id).i32(timer.clock);
    writeNotification(writer, timer.notification);
    writer.u64(timer.remainingNanos).u64(timer.intervalNanos);
  });
  for (const { remainingMicros, intervalMicros } of image.intervals) writer.u64(remainingMicros).u64(intervalMicros);
}

export function readTimers(reader: ByteReader): TimerImage {
  const posix = reader.list(() => readPosixTimer(reader), MAX_TIMERS);
  const interval = (): IntervalTimer => ({ remainingMicros: reader.u64(), intervalMicros: reader.u64() });
  if (new Set(posix.map(({ id }) => id)).size !== posix.length) reader.fail('two timers of one id');
  return { posix, intervals: [interval(), interval(), interval()] };
}

function writeNotification(writer: ByteWriter, notification: TimerNotification): void {
  switch (notification.kind) {
    case 'none':
      writer.u8(NOTIFY_NONE);
      return;
    case 'signal':
      writer.u8(NOTIFY_SIGNAL).u32(notification.signal).u64(notification.value);
      return;
    case 'thread':
      writer.u8(NOTIFY_THREAD).u32(notification.signal).u64(notification.value).u32(notification.tid);
      return;
    default:
      unreachable(notification);
  }
}

function readPosixTimer(reader: ByteReader): PosixTimer {
  return {
    id: readUpTo(reader, 0x7fff_ffff, 'timer id'),
    clock: reader.i32(),
    notification: readNotification(reader),
    remainingNanos: reader.u64(),
    intervalNanos: reader.u64(),
  };
}

function readNotification(reader: ByteReader): TimerNotification {
  const kind = reader.u8();
  if (kind === NOTIFY_NONE) return { kind: 'none' };
  const signal = (): number => readUpTo(reader, 64, 'signal');
  if (kind === NOTIFY_SIGNAL) return { kind: 'signal', signal: signal(), value: reader.u64() };
  if (kind !== NOTIFY_THREAD) reader.fail(`timer notification ${kind}`);
  return { kind: 'thread', signal: signal(), value: reader.u64(), tid: readPid(reader, 'TID') };
}
