import { hash } from 'node:crypto';
import { DIGEST_BYTES } from '../base/traffic-log.ts';

/**
 * What two payloads of one length are compared by. A payload that is no longer than a digest is its own, with zeros
 * behind it: nothing is quicker, and nothing can be confused. A longer one has the first half of its SHA-256: nobody can
 * make two payloads of which a client gets one and the comparison sees the other, and processors have instructions for it.
 */
export function digestOf(payload: Uint8Array): Uint8Array {
  if (payload.length <= DIGEST_BYTES) {
    const digest = new Uint8Array(DIGEST_BYTES);
    digest.set(payload);
    return digest;
  }
  return hash('sha256', payload, 'buffer').subarray(0, DIGEST_BYTES);
}
