/** What a migration needs of the memory that a sandbox may use (`limits.memory`). */
import { ComicranError } from '../../base/errors.ts';
import type { FullConfig } from '../../base/sandbox-config.ts';
import { formatBytes } from '../../base/units.ts';
import { memoryLimitOf } from '../../jailor/index.ts';
import type { Cgroup } from '../../linux/cgroup.ts';
import { memoryLimit, raiseMemoryLimit, tryLowerMemoryLimit } from '../../linux/cgroup-memory-limit.ts';
import { KernelError } from '../../linux/errno.ts';
import { readProc, StatusFile } from '../../linux/procfs.ts';
import type { Snapshot } from '../../migration/ports.ts';

/** Of the page tables: an entry of 8 bytes for 4 KiB. */
const TABLES_SHARE = 1 / 512;
/** What is in a sandbox beside its process. */
const BESIDE_BYTES = 1 << 20;

/** Memory of its own: what it shares with a file is not sent, and given back where memory is short. */
export const ownMemoryBytes = (hostPid: number): number =>
  Number.parseInt(new StatusFile(readProc(hostPid, 'status')).text('RssAnon'), 10) * 1024;

/**
 * All that a process has of its own comes into the sandbox at the destination; where it is now, some of it may count for
 * somebody else. @throws ComicranError migration.refused
 */
export function checkMemoryLimit(config: FullConfig, ownBytes: number): void {
  const limit = memoryLimitOf(config);
  const needed = Math.ceil(ownBytes * (1 + TABLES_SHARE)) + BESIDE_BYTES;
  if (needed <= limit) return;
  throw new ComicranError(
    'migration.refused',
    `'${config.id}' would need ${formatBytes(needed)} of memory at the destination, and may use ${formatBytes(limit)} (limits.memory): it would be ended there`,
    { hint: 'Move it when it uses less, or start it again with a higher limits.memory.' },
  );
}

export type LimitedProcess = {
  readonly pid: number;
  /** null: not known, and without a limit. */
  readonly cgroup: Cgroup | null;
  readonly hasEnded: () => boolean;
};

/**
 * Takes a snapshot by a fork. While its clone is there the sandbox may use more memory, by as much as the process has: each
 * page that it writes is there twice. The kernel may end the clone all the same, where the machine has no memory.
 *
 * @throws what `take` throws, and replication.unsuitable where the clone has been ended; so does reading it.
 */
export function takeWithRoom(take: () => Snapshot, { pid, cgroup, hasEnded }: LimitedProcess): Snapshot {
  const limit = cgroup === null ? undefined : memoryLimit(cgroup);
  const putBack = (): void => {
    // Where more is used now than that, the daemon looks after it when the migration is over.
    if (cgroup !== null && limit !== undefined) tryLowerMemoryLimit(cgroup, limit);
  };
  const orEnded = <T>(run: () => T): T => {
    try {
      return run();
    } catch (thrown) {
      if (hasEnded() || !isGone(thrown)) throw thrown;
      throw cloneEnded(pid, thrown);
    }
  };
  if (cgroup !== null) raiseMemoryLimit(cgroup, ownMemoryBytes(pid));
  let taken: Snapshot;
  try {
    taken = orEnded(take);
  } catch (thrown) {
    putBack();
    throw thrown;
  }
  const { image, pages, ownPages, freezeMicros } = taken;
  return {
    ...{ image, pages, ownPages, freezeMicros },
    readPages: (ranges, into) => orEnded(() => taken.readPages(ranges, into)),
    async close() {
      await taken.close();
      putBack();
    },
  };
}

function isGone(thrown: unknown): boolean {
  if (thrown instanceof ComicranError) return thrown.code === 'process.gone' || isGone(thrown.cause);
  return thrown instanceof KernelError && ['ESRCH', 'EIO', 'EFAULT', 'ENOENT'].includes(thrown.code);
}

const cloneEnded = (pid: number, cause: unknown): ComicranError =>
  new ComicranError(
    'replication.unsuitable',
    `the snapshot of process ${pid}, a clone of it, has been killed: by somebody, or by the kernel for want of memory`,
    {
      cause,
      hint: "Free memory on the machine that it runs on ('dmesg' there says what the kernel has ended), or try --snapshot tracked or --mode precopy, which need no clone.",
    },
  );
