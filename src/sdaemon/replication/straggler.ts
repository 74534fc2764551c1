/** An input of the log as a datagram that can be sent again. */
import { decodeDatagram, decodePacket } from '../../base/packets/decode.ts';
import type { InputEntry } from '../../base/traffic-log.ts';
import type { CarriedDatagram } from '../../migration/ports.ts';

/** @returns undefined: none that a socket would take. */
export function datagramOf({ frames }: InputEntry): CarriedDatagram | undefined {
  const parts = frames.map((frame) => decodePacket(Buffer.from(frame)));
  const whole = parts.filter((part) => part !== undefined).toSorted((a, b) => a.offset - b.offset);
  return decodeDatagram(whole);
}
