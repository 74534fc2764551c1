/** The program that is made of an allow-list, run by an interpreter of classic BPF. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EAFNOSUPPORT, ENOSYS, EPERM } from './errno.ts';
import { allowListProgram, type CallRule, type SystemCall } from './seccomp-program.ts';
import { SYS } from './syscall-numbers.ts';

const X86_64 = 0xc000003e;
const ALLOW = 0x7fff0000;

/** struct seccomp_data. @returns `allow` or the errno. */
function run(program: Buffer, number: number, args: readonly number[] = [], architecture = X86_64): 'allow' | number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(number >>> 0, 0);
  data.writeUInt32LE(architecture, 4);
  for (const [index, value] of args.entries()) data.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), 16 + index * 8);
  let accumulator = 0;
  for (let at = 0; ; at++) {
    assert.ok(at * 8 < program.length, 'the program runs out of itself');
    const code = program.readUInt16LE(at * 8);
    const constant = program.readUInt32LE(at * 8 + 4);
    const jump = (holds: boolean): number => program.readUInt8(at * 8 + (holds ? 2 : 3));
    switch (code) {
      case 0x20:
        accumulator = data.readUInt32LE(constant);
        break;
      case 0x15:
        at += jump(accumulator === constant);
        break;
      case 0x35:
        at += jump(accumulator >= constant);
        break;
      case 0x45:
        at += jump((accumulator & constant) !== 0);
        break;
      case 0x05:
        at += constant;
        break;
      case 0x06:
        return constant === ALLOW ? 'allow' : constant & 0xffff;
      default:
        assert.fail(`no such instruction: ${code}`);
    }
  }
}

const names = Object.keys(SYS) as SystemCall[];

test('what is listed is allowed, what is known is refused, what is unknown is not there', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.constantFrom(...names)), (allowed) => {
      const program = allowListProgram(new Map(allowed.map((name): [SystemCall, CallRule] => [name, 'allow'])));
      for (const name of names) assert.equal(run(program, SYS[name]), allowed.includes(name) ? 'allow' : EPERM, name);
      for (const number of [335, 400, 423, 451, 500, 100_000, 0x4000_0000, 0x4000_0001, 0xffff_ffff])
        assert.equal(run(program, number), ENOSYS, `${number}`);
    }),
    { numRuns: 30 },
  );
});

test('calls of another architecture are not there', () => {
  const program = allowListProgram(new Map(names.map((name): [SystemCall, CallRule] => [name, 'allow'])));
  assert.equal(run(program, SYS.read, [], 0x4000_0003), ENOSYS);
  assert.equal(run(program, SYS.read), 'allow');
});

test('arguments decide where a rule says so', () => {
  const program = allowListProgram(
    new Map<SystemCall, CallRule>([
      ['socket', { argument: 0, test: { kind: 'one-of', values: [1, 2, 10] }, errno: EAFNOSUPPORT }],
      ['ioctl', { argument: 1, test: { kind: 'none-of', values: [0x5412] }, errno: EPERM }],
      ['clone', { argument: 0, test: { kind: 'no-bits-of', mask: 0x7e020000 }, errno: EPERM }],
      ['clone3', { errno: ENOSYS }],
      ['read', 'allow'],
    ]),
  );
  assert.deepEqual(
    [1, 2, 10, 17, 0].map((family) => run(program, SYS.socket, [family])),
    [...['allow', 'allow', 'allow'], ...[EAFNOSUPPORT, EAFNOSUPPORT]],
  );
  assert.deepEqual([run(program, SYS.ioctl, [0, 0x5412]), run(program, SYS.ioctl, [0, 0x5413])], [EPERM, 'allow']);
  assert.deepEqual([run(program, SYS.clone, [0x0010_0011]), run(program, SYS.clone, [0x1000_0000])], ['allow', EPERM]);
  assert.deepEqual(
    [run(program, SYS.clone3), run(program, SYS.read), run(program, SYS.write)],
    [ENOSYS, 'allow', EPERM],
  );
});

test('a list with everything in it is no longer than the kernel takes', () => {
  const rules = new Map(
    names.filter((_, index) => index % 2 === 0).map((name): [SystemCall, CallRule] => [name, 'allow']),
  );
  const program = allowListProgram(rules);
  assert.ok(program.length / 8 < 4096, `${program.length / 8} instructions`);
  for (const [index, name] of names.entries())
    assert.equal(run(program, SYS[name]), index % 2 === 0 ? 'allow' : EPERM, name);
});
