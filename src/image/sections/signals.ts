import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { readExact, readSignals } from '../fields.ts';
import type { SignalImage } from '../types.ts';

export const SIGNALS_VERSION = 1;
/** 64 of struct kernel_sigaction. */
const ACTIONS_BYTES = 64 * 32;

export function writeSignals(writer: ByteWriter, image: SignalImage): void {
  writer.bytes(image.actions).list(image.pending, (info) => writer.bytes(info));
}

export function readSignalsSection(reader: ByteReader): SignalImage {
  return { actions: readExact(reader, ACTIONS_BYTES, 'signal actions'), pending: readSignals(reader) };
}
