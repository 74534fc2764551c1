/**
 * Limits of a control group, for version 2 and version 1. Documentation/admin-guide/cgroup-v2.rst; cgroup-v1/memory.rst,
 * pids.rst, blkio-controller.rst; scheduler/sched-bwc.rst.
 */

import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ComicranError, messageOf } from '../base/errors.ts';
import type { LimitsSpec } from '../base/sandbox-config.ts';
import { type CgroupTree, groupDirectory } from './cgroup.ts';
import { deviceText } from './device-number.ts';

/** A controller, by its name in version 2. */
type Controller = 'memory' | 'pids' | 'cpu' | 'io';
type LimitName = keyof LimitsSpec;

const V1_NAMES: Readonly<Record<Controller, string>> = { memory: 'memory', pids: 'pids', cpu: 'cpu', io: 'blkio' };
const CONTROLLER_OF: Readonly<Record<LimitName, Controller>> = {
  memory: 'memory',
  pids: 'pids',
  cpuWeight: 'cpu',
  cpuPercent: 'cpu',
  ioWeight: 'io',
  ioReadBytes: 'io',
  ioWriteBytes: 'io',
};
/** Of the quota; the kernel's own default. */
const CPU_PERIOD_MICROS = 100_000;
/** Shares of version 1 that a weight of 100 stands for. */
const USUAL_SHARES = 1024;

/** A file of the group and what is written to it, in order. `optional`: the kernel may be built without it. */
export type LimitWrite = { readonly file: string; readonly text: string; readonly optional?: true };

/** What sets a limit. Pure. @param disk `major:minor` of a whole disk. */
export function limitWrites(version: 1 | 2, name: LimitName, value: number, disk: string): readonly LimitWrite[] {
  const quota = Math.ceil((value * CPU_PERIOD_MICROS) / 100);
  switch (name) {
    case 'memory':
      return version === 2
        ? [
            { file: 'memory.max', text: `${value}` },
            // Otherwise a group that is full fills the swap space.
            { file: 'memory.swap.max', text: '0', optional: true },
          ]
        : [
            { file: 'memory.limit_in_bytes', text: `${value}` },
            { file: 'memory.memsw.limit_in_bytes', text: `${value}`, optional: true },
          ];
    case 'pids':
      return [{ file: 'pids.max', text: `${value}` }];
    case 'cpuWeight':
      return version === 2
        ? [{ file: 'cpu.weight', text: `${value}` }]
        : [{ file: 'cpu.shares', text: `${Math.max(2, Math.round((value * USUAL_SHARES) / 100))}` }];
    case 'cpuPercent':
      return version === 2
        ? [{ file: 'cpu.max', text: `${quota} ${CPU_PERIOD_MICROS}` }]
        : [
            { file: 'cpu.cfs_period_us', text: `${CPU_PERIOD_MICROS}` },
            { file: 'cpu.cfs_quota_us', text: `${quota}` },
          ];
    case 'ioWeight':
      // Only where the disk's scheduler knows weights: bfq, or the cost model of version 2.
      return version === 2
        ? [{ file: 'io.weight', text: `default ${value}` }]
        : [{ file: 'blkio.bfq.weight', text: `${Math.min(1000, value)}` }];
    case 'ioReadBytes':
      return version === 2
        ? [{ file: 'io.max', text: `${disk} rbps=${value}` }]
        : [{ file: 'blkio.throttle.read_bps_device', text: `${disk} ${value}` }];
    case 'ioWriteBytes':
      return version === 2
        ? [{ file: 'io.max', text: `${disk} wbps=${value}` }]
        : [{ file: 'blkio.throttle.write_bps_device', text: `${disk} ${value}` }];
  }
}

/** The trees in which a group with these limits must have a directory. */
export function treesFor(trees: readonly CgroupTree[], limits: LimitsSpec): CgroupTree[] {
  const needed = new Set(['freezer', ...named(limits).map(([name]) => V1_NAMES[CONTROLLER_OF[name]])]);
  return trees.filter(({ version, controllers }) => version === 2 || controllers.some((one) => needed.has(one)));
}

const named = (limits: LimitsSpec): [LimitName, number][] =>
  Object.entries(limits).filter((entry): entry is [LimitName, number] => entry[1] !== undefined);

/**
 * Sets the limits of a group that has just been made.
 *
 * @param required limits that must be set; one of the others is left out where this machine has no controller for it.
 * @param directory on the disk that limits of input and output are for.
 * @throws ComicranError needs.kernel
 */
export function setLimits(
  name: string,
  trees: readonly CgroupTree[],
  limits: LimitsSpec,
  required: ReadonlySet<string>,
  directory: string,
): void {
  for (const [limit, value] of named(limits)) {
    const tree = treeOf(trees, CONTROLLER_OF[limit], name);
    const isNeeded = required.has(limit);
    if (tree === undefined) {
      if (isNeeded) throw missing(limit, `the controller ${CONTROLLER_OF[limit]} is not there`);
      continue;
    }
    const disk = CONTROLLER_OF[limit] === 'io' ? diskOf(directory) : '';
    for (const { file, text, optional } of limitWrites(tree.version, limit, value, disk)) {
      const path = join(groupDirectory(tree, name), file);
      if (optional === true && !existsSync(path)) continue;
      try {
        writeFileSync(path, text, { flag: 'r+' });
      } catch (cause) {
        if (isNeeded) throw missing(limit, messageOf(cause), cause);
      }
    }
  }
}

function missing(limit: string, why: string, cause?: unknown): ComicranError {
  return new ComicranError('needs.kernel', `limits.${limit} cannot be set on this machine: ${why}`, {
    hint: 'Leave it out, or start the machine with that controller of control groups (and, for ioWeight, a disk scheduler that knows weights).',
    cause,
  });
}

/**
 * Which tree has a controller, switched on there for a group. Version 1 first: a controller is in one tree only, and one that
 * version 1 has is not in the version 2 tree.
 */
function treeOf(trees: readonly CgroupTree[], controller: Controller, name: string): CgroupTree | undefined {
  const old = trees.find(({ version, controllers }) => version === 1 && controllers.includes(V1_NAMES[controller]));
  if (old !== undefined) return old;
  const unified = trees.find(({ version }) => version === 2);
  return unified !== undefined && switchOn(unified, controller, name) ? unified : undefined;
}

/**
 * Gives a group of version 2 the files of a controller. It cannot be switched off above the group's parent any more.
 * @returns false: the tree does not have it.
 */
export function switchOn(tree: CgroupTree, controller: string, name: string): boolean {
  const isIn = (directory: string, file: string): boolean =>
    readFileSync(join(directory, file), 'latin1').trim().split(' ').includes(controller);
  if (!isIn(tree.mountPoint, 'cgroup.controllers')) return false;
  for (const above of [tree.mountPoint, dirname(groupDirectory(tree, name))]) {
    if (!isIn(above, 'cgroup.subtree_control')) writeFileSync(join(above, 'cgroup.subtree_control'), `+${controller}`);
  }
  return true;
}

/** `major:minor` of the whole disk that a directory is on: limits are none of partitions. */
function diskOf(directory: string): string {
  const number = deviceText(statSync(directory).dev);
  const device = `/sys/dev/block/${number}`;
  if (!existsSync(join(device, 'partition'))) return number;
  // Not join(): what is above is the directory that the link leads to.
  return readFileSync(`${device}/../dev`, 'latin1').trim();
}

/** How many processes of a group have been killed because it was out of memory. @param paths of the group. */
export function outOfMemoryKills(paths: readonly string[]): number {
  for (const path of paths) {
    for (const file of ['memory.events', 'memory.oom_control']) {
      const text = readIfThere(join(path, file));
      const found = text === undefined ? null : /^oom_kill (\d+)$/m.exec(text);
      if (found !== null) return Number(found[1]);
    }
  }
  return 0;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}
