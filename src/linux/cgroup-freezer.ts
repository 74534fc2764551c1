/**
 * Freezing the processes of a control group. Unlike a stop by SIGSTOP it is lifted by nobody's SIGCONT.
 * Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/freezer-subsystem.rst.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Cgroup } from './cgroup.ts';

const FILES = {
  1: { name: 'freezer.state', freeze: 'FROZEN', thaw: 'THAWED' },
  2: { name: 'cgroup.freeze', freeze: '1', thaw: '0' },
} as const;

/** Holds its file open, to be quick. */
export class CgroupFreezer {
  readonly #descriptor: number;
  readonly #words: (typeof FILES)[1 | 2];

  /** @throws Error ENOENT: there is no such group. */
  constructor({ freezer }: Pick<Cgroup, 'freezer'>) {
    this.#words = FILES[freezer.version];
    this.#descriptor = openSync(join(freezer.path, this.#words.name), 'w');
  }

  /** Does not wait for the processes to be frozen. */
  freeze(): void {
    writeSync(this.#descriptor, this.#words.freeze, 0);
  }

  /** Does nothing where the group has been removed: there is nobody in it. */
  thaw(): void {
    try {
      writeSync(this.#descriptor, this.#words.thaw, 0);
    } catch (thrown) {
      if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'ENODEV')) throw thrown;
    }
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
