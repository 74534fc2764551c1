import type { SocketOptionImage } from '../../image/descriptors/types.ts';
import { errnoName } from '../../linux/errno.ts';
import type { SocketOption } from '../../linux/socket-options.ts';
import { interfaceIndex, tryGetSocketOption, trySetSocketOption } from '../../linux/sockets.ts';
import { restoreError, type Subject } from './context.ts';

/**
 * Sets the options that are not already as they should be: a fresh socket has most of them, and some may be set only to
 * something new. Setting one can change another, so they are gone through until all of them fit.
 */
export function setOptions(
  subject: Subject,
  images: readonly SocketOptionImage[],
  socket: number,
  known: readonly SocketOption[],
): void {
  const values = new Map(images.map(({ level, option, value }) => [key(level, option), Buffer.from(value)]));
  const options = known.filter(({ level, number }) => values.has(key(level, number)));
  if (options.length !== values.size) throw restoreError(subject, 'it has socket options that are not known here');
  let wrong = differing(socket, options, values);
  for (let round = 0; wrong.length > 0; round++) {
    if (round === 3) throw restoreError(subject, `socket option ${wrong[0]!.name} does not keep its value`);
    for (const option of wrong) setOption(subject, socket, option, values.get(key(option.level, option.number))!);
    wrong = differing(socket, options, values);
  }
}

const key = (level: number, option: number): string => `${level}:${option}`;

function differing(
  socket: number,
  options: readonly SocketOption[],
  values: ReadonlyMap<string, Buffer>,
): SocketOption[] {
  return options.filter((option) => {
    const now = tryGetSocketOption(socket, option.level, option.number, option.maxBytes);
    const wanted = localValue(socket, option, values.get(key(option.level, option.number))!);
    // A kernel that does not have the option behaves as if it were zero.
    if (typeof now === 'number') return wanted.some((byte) => byte !== 0);
    // Sizes of buffers can be set to even numbers only.
    return option.doubled ? now.readUInt32LE(0) >>> 1 !== wanted.readUInt32LE(0) >>> 1 : !now.equals(wanted);
  });
}

function setOption(subject: Subject, socket: number, option: SocketOption, value: Buffer): void {
  const wanted = localValue(socket, option, value);
  if (option.doubled) wanted.writeUInt32LE(wanted.readUInt32LE(0) >>> 1, 0);
  const result = trySetSocketOption(socket, option.level, option.setNumber, wanted);
  if (result < 0) {
    throw restoreError(subject, `set ${option.name} to ${value.toString('hex')}: ${errnoName(-result)}`);
  }
}

/** A copy of the value, with interfaces by their index here. */
function localValue(socket: number, { interfaceIndex: order, maxBytes }: SocketOption, value: Buffer): Buffer {
  if (order === null) return Buffer.from(value);
  const index = interfaceIndex(socket, value.toString('utf8'));
  const bytes = Buffer.alloc(maxBytes);
  if (order === 'host') bytes.writeUInt32LE(index, 0);
  else bytes.writeUInt32BE(index, 0);
  return bytes;
}
