import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { readExact } from '../fields.ts';
import type { PlatformImage } from '../types.ts';

export const PLATFORM_VERSION = 1;
const DIGEST_BYTES = 32;
const MAX_FEATURES = 1024;

export function writePlatform(writer: ByteWriter, image: PlatformImage): void {
  writer.text(image.kernelRelease).text(image.kernelVersion).bytes(image.vdsoDigest);
  writer.list(image.cpuFeatures, (feature) => writer.text(feature));
  writer.u64(image.extendedStateMask).text(image.bootId);
  writer.i64(image.realtimeNanos).i64(image.monotonicNanos).i64(image.boottimeNanos);
}

export function readPlatform(reader: ByteReader): PlatformImage {
  return {
    kernelRelease: reader.text(256),
    kernelVersion: reader.text(256),
    vdsoDigest: readExact(reader, DIGEST_BYTES, 'digest'),
    cpuFeatures: reader.list(() => reader.text(64), MAX_FEATURES),
    extendedStateMask: reader.u64(),
    bootId: reader.text(64),
    realtimeNanos: reader.i64(),
    monotonicNanos: reader.i64(),
    boottimeNanos: reader.i64(),
  };
}
