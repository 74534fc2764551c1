/**
 * What goes over a record channel (Sdn.OpenRecordChannel): the compare-and-set without TLS, HTTP/2 and protobuf around it,
 * for the moment of a migration at which nobody answers. Sealed frames (base/secure-frames) with one key a channel; the
 * sdn knows by the key who asks, for which sandbox, in which migration and for which epoch.
 *
 *     sdaemon                                    sdn
 *       │ ── REHEARSE ────────────────────────► │  does what TAKE will do, and changes nothing
 *       │ ◄── RECORD ────────────────────────── │
 *       │ ── TAKE   epoch n ──────────────────► │  compare-and-set; the route as well, unless it follows later
 *       │ ◄── RECORD   owner, epoch ─────────── │  as it stands now, changed or not
 *       │     or REFUSED   code, message        │
 *       │ ── LEAD ────────────────────────────► │  from a destination that has taken: the route, where it has not changed
 *       │ ◄── RECORD or REFUSED ─────────────── │
 *       │ ── GIVE_BACK   epoch n + 1 ─────────► │  from a destination that has taken: the source owns, epoch n + 2
 *       │ ◄── RECORD or REFUSED ─────────────── │
 */
import { unreachable } from '../base/assert.ts';
import { ByteReader, ByteWriter } from '../base/bytes.ts';
import { ERROR_CODES, type ErrorCode } from '../base/errors.ts';

export type RecordRequest =
  | { readonly type: 'REHEARSE' | 'LEAD' }
  | { readonly type: 'TAKE' | 'GIVE_BACK'; readonly expectedEpoch: bigint };

export type RecordAnswer =
  | { readonly type: 'RECORD'; readonly owner: string; readonly epoch: bigint }
  | { readonly type: 'REFUSED'; readonly code: ErrorCode; readonly message: string };

/** Of a message; a sentence of an error fits in. */
export const MAX_RECORD_MESSAGE_BYTES = 4096;
const MAX_TEXT_BYTES = 2048;

const TAGS = { REHEARSE: 1, TAKE: 2, GIVE_BACK: 3, RECORD: 4, REFUSED: 5, LEAD: 6 } as const;

export function encodeRecordRequest(request: RecordRequest): Buffer {
  const writer = new ByteWriter(16).u8(TAGS[request.type]);
  if ('expectedEpoch' in request) writer.u64(request.expectedEpoch);
  return writer.finish();
}

/** @throws ComicranError peer.protocol */
export function decodeRecordRequest(bytes: Uint8Array): RecordRequest {
  const reader = new ByteReader(bytes, 'a request of the record channel', 'peer.protocol');
  const tag = reader.u8();
  let request: RecordRequest;
  if (tag === TAGS.REHEARSE) request = { type: 'REHEARSE' };
  else if (tag === TAGS.LEAD) request = { type: 'LEAD' };
  else if (tag === TAGS.TAKE) request = { type: 'TAKE', expectedEpoch: reader.u64() };
  else if (tag === TAGS.GIVE_BACK) request = { type: 'GIVE_BACK', expectedEpoch: reader.u64() };
  else return reader.fail(`a request of kind ${tag}`);
  reader.end();
  return request;
}

export function encodeRecordAnswer(answer: RecordAnswer): Buffer {
  const writer = new ByteWriter(64).u8(TAGS[answer.type]);
  switch (answer.type) {
    case 'RECORD':
      writer.u64(answer.epoch).text(answer.owner);
      break;
    case 'REFUSED':
      writer.text(answer.code).text(answer.message.slice(0, MAX_TEXT_BYTES / 4));
      break;
    default:
      unreachable(answer);
  }
  return writer.finish();
}

/** @throws ComicranError peer.protocol */
export function decodeRecordAnswer(bytes: Uint8Array): RecordAnswer {
  const reader = new ByteReader(bytes, 'an answer of the record channel', 'peer.protocol');
  const tag = reader.u8();
  let answer: RecordAnswer;
  switch (tag) {
    case TAGS.RECORD:
      answer = { type: 'RECORD', epoch: reader.u64(), owner: reader.text(MAX_TEXT_BYTES) };
      break;
    case TAGS.REFUSED: {
      const code = reader.text(MAX_TEXT_BYTES);
      if (!isErrorCode(code)) return reader.fail(`an error code '${code}'`);
      answer = { type: 'REFUSED', code, message: reader.text(MAX_TEXT_BYTES) };
      break;
    }
    default:
      return reader.fail(`an answer of kind ${tag}`);
  }
  reader.end();
  return answer;
}

function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERROR_CODES, text);
}
