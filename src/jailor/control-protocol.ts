/**
 * What is spoken on a sandbox's control socket: JSON, one message a line, at most {@link MAX_LINE_BYTES} long.
 *
 *     client                                   jailor
 *       │ ◄──────────── {"event":"state","state":…}    at once, and after every transition
 *       │  {"id":1,"method":"status"} ───────► │
 *       │ ◄─────────── {"id":1,"result":state} │       or {"id":1,"error":{"code","message","hint"}}
 *
 * `guest` lets in a program that somebody is about to start in the sandbox; it counts as long as the connection is there.
 * `terminate` and `release` are answered when everything has been taken down; then jailor closes and ends.
 */
import { z } from 'zod';
import { isErrorCode } from '../base/errors.ts';
import { SANDBOX_STATE_SCHEMA } from './state-schema.ts';

export const MAX_LINE_BYTES = 65_536;
const MAX_GRACE_MS = 3_600_000;

const signal = z.custom<NodeJS.Signals>((value) => typeof value === 'string' && /^SIG[A-Z0-9]{2,9}$/.test(value));
const id = z.int().nonnegative();
/** Of a descriptor that jailor keeps for a daemon. */
const keptName = z.string().min(1).max(255);

export const REQUEST_SCHEMA = z.discriminatedUnion('method', [
  z.object({ id, method: z.literal('status') }),
  z.object({ id, method: z.literal('signal'), signal }),
  z.object({
    id,
    method: z.literal('terminate'),
    signal: signal.default('SIGTERM'),
    graceMs: z.number().min(0).max(MAX_GRACE_MS),
  }),
  z.object({ id, method: z.literal('run') }),
  z.object({ id, method: z.literal('freeze') }),
  z.object({ id, method: z.literal('thaw') }),
  z.object({ id, method: z.literal('moving'), moving: z.boolean() }),
  z.object({ id, method: z.literal('guest') }),
  z.object({ id, method: z.literal('adopt'), hostPid: z.int().positive() }),
  z.object({ id, method: z.literal('release') }),
  z.object({
    id,
    method: z.literal('keep'),
    name: keptName,
    pid: z.int().positive(),
    descriptor: z.int().nonnegative(),
  }),
  z.object({ id, method: z.literal('drop'), name: keptName }),
]);

export type Request = z.infer<typeof REQUEST_SCHEMA>;

export const REPLY_SCHEMA = z.union([
  z.object({ event: z.literal('state'), state: SANDBOX_STATE_SCHEMA }),
  z.object({ id, result: SANDBOX_STATE_SCHEMA }),
  z.object({
    id,
    error: z.object({
      code: z.string().refine(isErrorCode),
      message: z.string(),
      hint: z.string().optional(),
    }),
  }),
]);

export type Reply = z.infer<typeof REPLY_SCHEMA>;
