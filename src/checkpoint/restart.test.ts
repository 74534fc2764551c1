import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Registers } from '../linux/registers.ts';
import { SYS } from '../linux/syscall-numbers.ts';
import { guessRestartedCall, isRestartedCall, prepareRestore, prepareResume } from './restart.ts';

const AT = 0x7f00_0000_1000n;
const ERESTARTSYS = -512n;
const ERESTARTNOHAND = -514n;
const ERESTART_RESTARTBLOCK = -516n;
const EINTR = -4n;

const inCall = (number: number, result: bigint): Registers =>
  new Registers().set('orig_rax', number).set('rax', result).set('rip', AT);
const shown = (registers: Registers): object => ({
  rax: registers.getSigned('rax'),
  call: registers.getSigned('orig_rax'),
  rip: registers.get('rip') - AT,
});
const again = (number: number): object => ({ rax: BigInt(number), call: -1n, rip: -2n });

test('at the source a call that the kernel never restarts is issued again', () => {
  for (const number of [SYS.epoll_wait, SYS.epoll_pwait2, SYS.recvfrom, SYS.semtimedop, SYS.rt_sigtimedwait]) {
    const registers = inCall(number, EINTR);
    assert.equal(
      prepareResume(registers, () => false),
      true,
    );
    assert.deepEqual(shown(registers), again(number));
  }
});

test('at the source everything else is left to the kernel', () => {
  const untouched: readonly (readonly [Registers, boolean])[] = [
    // The program is to see this one: a handler runs first.
    [inCall(SYS.epoll_wait, EINTR), true],
    [inCall(SYS.close, EINTR), false],
    [inCall(SYS.epoll_wait, 3n), false],
    [inCall(SYS.read, ERESTARTSYS), false],
    [inCall(SYS.ppoll, ERESTARTNOHAND), false],
    [inCall(SYS.nanosleep, ERESTART_RESTARTBLOCK), false],
    [new Registers().set('orig_rax', -1n).set('rax', EINTR), false],
  ];
  for (const [registers, signalWaits] of untouched) {
    const before = registers.clone();
    assert.equal(
      prepareResume(registers, () => signalWaits),
      false,
    );
    assert.deepEqual(registers, before);
  }
});

test('in a restored thread a wait with a restart block is issued again', () => {
  for (const number of [SYS.nanosleep, SYS.poll, SYS.futex, SYS.clock_nanosleep]) {
    const registers = inCall(number, ERESTART_RESTARTBLOCK);
    prepareRestore(registers, false, null);
    assert.deepEqual(shown(registers), again(number));
  }
});

test('in a restored thread restart_syscall becomes the call that it stands for, or an EINTR', () => {
  const registers = inCall(SYS.restart_syscall, ERESTART_RESTARTBLOCK);
  assert.equal(isRestartedCall(registers), true);
  const known = registers.clone();
  prepareRestore(known, false, SYS.poll);
  assert.deepEqual(shown(known), again(SYS.poll));
  prepareRestore(registers, false, null);
  assert.deepEqual(shown(registers), { rax: EINTR, call: -1n, rip: 0n });
});

test('in a restored thread a wait that a signal is about to end gives the EINTR that it would have given', () => {
  const registers = inCall(SYS.poll, ERESTART_RESTARTBLOCK);
  prepareRestore(registers, true, null);
  assert.deepEqual(shown(registers), { rax: EINTR, call: -1n, rip: 0n });
});

test('in a restored thread what the kernel restarts by itself stays as it is', () => {
  for (const registers of [inCall(SYS.read, ERESTARTSYS), inCall(SYS.pause, ERESTARTNOHAND), inCall(SYS.read, 5n)]) {
    const before = registers.clone();
    prepareRestore(registers, false, null);
    assert.deepEqual(registers, before);
    assert.equal(isRestartedCall(registers), false);
  }
});

test('the code in front of a system call tells which it is', () => {
  const code = (hex: string): number | null => guessRestartedCall(Buffer.from(hex, 'hex'));
  assert.equal(code('b8ca0000000f05'), SYS.futex);
  assert.equal(code('b8070000000f05'), SYS.poll);
  assert.equal(code('b8000000000f05'), null, 'read has no restart block');
  assert.equal(code('89f8ca0000000f05'), null);
  assert.equal(code('90909090900f05'), null);
});
