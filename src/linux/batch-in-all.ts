/** The same few calls in every thread of a process, in all at once: one after the other would cost a stop for each. */
import { assert } from '../base/assert.ts';
import * as ptrace from './ptrace.ts';
import { CALL_BYTES, checkResult, encodeCalls, RESULT_OFFSET, type RemoteCall } from './remote-call.ts';
import { encodeSignalFrame } from './signal-frame.ts';
import type { Tracee } from './tracee.ts';

/**
 * Room for one thread behind the agent:
 *
 *     ┌─────────┬─────────┬──────────────────────────┐
 *     │ calls   │ answer  │ signal frame             │
 *     └─────────┴─────────┴──────────────────────────┘
 *     0         CALLS     FRAME                      ROOM
 */
const CALLS = 0x200;
const FRAME = 0x280;
export const ROOM_BYTES = 0x4000n;

/** A stopped thread with its extended state, as PTRACE_GETREGSET gives it. */
export type ThreadWithState = { readonly thread: Tracee; readonly extendedState: Uint8Array };

export type BatchAnswer = { readonly results: readonly bigint[]; readonly answer: Buffer };

/**
 * Runs calls in all threads. The agent has {@link ROOM_BYTES} for each of them behind `room`.
 *
 * @param calls to make by a thread whose answers go to `at`, at most eight. @param answerBytes at most 128.
 */
export function batchInAll(
  threads: readonly ThreadWithState[],
  room: bigint,
  answerBytes: number,
  calls: (at: bigint) => readonly RemoteCall[],
): BatchAnswer[] {
  if (threads.length === 0) return [];
  const rooms = threads.map((_, index) => room + BigInt(index) * ROOM_BYTES);
  const lists = rooms.map((at) => calls(at + BigInt(CALLS)));
  const begun: Tracee[] = [];
  try {
    for (const [index, { thread, extendedState }] of threads.entries()) {
      const at = rooms[index]!;
      const list = lists[index]!;
      const frame = encodeSignalFrame(thread.registers, extendedState, thread.signalMask, at + BigInt(FRAME));
      const bytes = Buffer.alloc(FRAME + frame.length);
      assert(
        list.length * CALL_BYTES <= CALLS && bytes.length <= Number(ROOM_BYTES),
        'too much for the room of a thread',
      );
      bytes.set(encodeCalls(list));
      bytes.set(frame, FRAME);
      thread.process.memory.write(at, bytes);
      begun.push(thread);
      thread.begin(thread.agent.batchAddress, { rbx: at, r12: list.length, rsp: at + BigInt(FRAME) });
    }
    for (const { tid } of begun) ptrace.resume(tid);
    awaitAll(begun);
  } finally {
    putAllBack(begun);
  }
  return threads.map(({ thread }, index) => {
    const bytes = thread.read(rooms[index]!, CALLS + answerBytes);
    const results = lists[index]!.map(({ what }, call) =>
      checkResult(thread.process.pid, what, bytes.readBigInt64LE(call * CALL_BYTES + RESULT_OFFSET)),
    );
    return { results, answer: bytes.subarray(CALLS) };
  });
}

/** Of every thread, also when one fails: a thread that runs cannot be put back. */
function awaitAll(threads: readonly Tracee[]): void {
  const errors: unknown[] = [];
  for (const thread of threads) {
    try {
      thread.awaitDoorbell();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}

function putAllBack(threads: readonly Tracee[]): void {
  const errors: unknown[] = [];
  for (const thread of threads) {
    try {
      thread.putBack();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}
