import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ComicranError } from '../../base/errors.ts';
import { KernelError } from '../../linux/errno.ts';
import { explained } from './explained-ports.ts';

const ENODEV = 19;
const EPERM = 1;
const EIO = 5;

class Packets {
  readonly #error: Error;
  readonly limit = 7;

  constructor(error: Error) {
    this.#error = error;
  }

  async hold(): Promise<void> {
    throw this.#error;
  }

  inject(_bytes: Uint8Array): void {
    throw this.#error;
  }

  release(held: number): number {
    return held + this.limit;
  }
}

const port = (error: Error): Packets => explained(new Packets(error), 'square', 'vm2');

test('what the kernel refuses is told with the sandbox, the machine, the cause and the next step', async () => {
  const cause = new KernelError('netlink message 36', ENODEV);
  await assert.rejects(port(cause).hold(), {
    code: 'sandbox.not-running',
    message: "'square': the packets that come for it cannot be held at vm2: netlink message 36: ENODEV",
    hint: /Its link or its process is gone there/,
    cause,
  });
  for (const [errno, hint] of [
    [EPERM, /needs root/],
    [EIO, /dmesg/],
  ] as const)
    assert.throws(() => port(new KernelError('send', errno)).inject(new Uint8Array(1)), {
      code: 'migration.failed',
      message: /^'square': a datagram that was sent to it cannot be given to it at vm2: send: E/,
      hint,
    });
});

test('what explains itself already, and what succeeds, is as it was', async () => {
  const own = new ComicranError('deadline', 'it took too long');
  await assert.rejects(port(own).hold(), (thrown) => thrown === own);
  assert.equal(port(own).release(3), 10);
  assert.equal(port(own).limit, 7);
});
