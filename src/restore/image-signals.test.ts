import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SIGNAL, SIGNAL_COUNT } from '../linux/signals.ts';
import { freeDoorbell, noticesContinue, signalOf } from './image-signals.ts';

const ACTION_BYTES = 32;

function info(signal: number): Uint8Array {
  const bytes = Buffer.alloc(128);
  bytes.writeInt32LE(signal, 0);
  return bytes;
}

const quiet = { signals: { pending: [], actions: new Uint8Array(SIGNAL_COUNT * ACTION_BYTES) }, threads: [] };
const thread = { pendingSignals: [], signalMask: 0n };

test('the doorbell is a signal that waits neither for the process nor for a thread of it', () => {
  assert.equal(freeDoorbell(quiet), SIGNAL.URG);
  const waiting = { ...quiet, signals: { ...quiet.signals, pending: [info(SIGNAL.URG)] } };
  assert.equal(freeDoorbell(waiting), SIGNAL.WINCH);
  const both = { ...waiting, threads: [thread, { ...thread, pendingSignals: [info(SIGNAL.WINCH)] }] };
  assert.equal(freeDoorbell(both), SIGNAL.CHLD);
});

test('a process notices SIGCONT by a handler of its own, or by a thread that has it blocked', () => {
  assert.equal(noticesContinue({ ...quiet, threads: [thread] }), false);
  const handlerOf = (signal: number): Uint8Array => {
    const actions = new Uint8Array(SIGNAL_COUNT * ACTION_BYTES);
    actions[(signal - 1) * ACTION_BYTES + 5] = 0x7f;
    return actions;
  };
  const withHandler = (signal: number) => ({ ...quiet, signals: { pending: [], actions: handlerOf(signal) } });
  assert.equal(noticesContinue(withHandler(SIGNAL.CONT)), true);
  assert.equal(noticesContinue(withHandler(SIGNAL.CHLD)), false, 'the action of another signal');
  assert.equal(noticesContinue(withHandler(SIGNAL.STOP)), false, 'the action of another signal');
  const blocked = { ...thread, signalMask: 1n << BigInt(SIGNAL.CONT - 1) };
  assert.equal(noticesContinue({ ...quiet, threads: [thread, blocked] }), true);
});

test('the number of a signal is read from bytes within a larger buffer', () => {
  const bytes = new Uint8Array(12);
  bytes[4] = SIGNAL.USR1;
  assert.equal(signalOf(bytes.subarray(4)), SIGNAL.USR1);
});
