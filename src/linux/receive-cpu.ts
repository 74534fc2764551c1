/**
 * Which CPU handles what a device receives: receive packet steering (Documentation/networking/scaling.rst). With one CPU
 * for all of it packets get to their sockets in the order in which the device got them; without, two CPUs may swap them.
 */
import { availableParallelism } from 'node:os';
import { readOnce, statAt, writeAll } from './file-descriptors.ts';
import { cString, syscall } from './libc.ts';
import { O } from './open-flags.ts';
import { closeDescriptor } from './pidfd.ts';
import { SYS } from './syscall-numbers.ts';

const FSCONFIG_CMD_CREATE = 6;
const FSMOUNT_CLOEXEC = 1;
const FSOPEN_CLOEXEC = 1;
/** Longest file of sysfs. */
const SYSFS_BYTES = 4096;

/** A CPU number as the mask that sysfs takes: groups of 32 bits in hexadecimal, the highest first. */
export function cpuMask(cpu: number): string {
  return [(1 << (cpu % 32)) >>> 0, ...Array<number>(Math.floor(cpu / 32)).fill(0)]
    .map((group) => group.toString(16).padStart(8, '0'))
    .join(',');
}

/**
 * Has one CPU handle all that a device receives. In the network namespace of the calling thread.
 *
 * @param seed picks the CPU: different devices should not all have the same one.
 * @throws KernelError ENOENT: no such device, or a kernel without steering
 */
export function receiveOnOneCpu(link: string, seed: number): void {
  inSysfs((root) => {
    const path = `class/net/${link}/queues/rx-0/rps_cpus`;
    const file = syscall(`open ${path} in sysfs`, SYS.openat, root, cString(path), O.WRONLY | O.CLOEXEC);
    try {
      writeAll(file, Buffer.from(cpuMask(seed % availableParallelism())));
    } finally {
      closeDescriptor(file);
    }
  });
}

export type ReceiveSteering = {
  /** CPUs that packets are spread over; none: each stays on the CPU that it came in on. */
  readonly cpus: readonly number[];
  readonly queues: number;
  /** Room for flows that follow the thread that reads them (RFS); 0: none does. */
  readonly followedFlows: number;
};

/**
 * Which CPUs handle what a device receives. In the network namespace of the calling thread.
 * @throws KernelError ENOENT: no such device, or a kernel without steering
 */
export function receiveSteering(link: string): ReceiveSteering {
  return inSysfs((root) => {
    const queue = (number: number): string => `class/net/${link}/queues/rx-${number}`;
    const read = (path: string): string => readText(root, path);
    let queues = 1;
    while (statAt(root, cString(queue(queues))) !== null) queues++;
    return {
      cpus: parseCpuMask(read(`${queue(0)}/rps_cpus`)),
      queues,
      followedFlows: Number(read(`${queue(0)}/rps_flow_cnt`)),
    };
  });
}

/** The inverse of {@link cpuMask}, for any number of CPUs. */
export function parseCpuMask(text: string): number[] {
  const groups = text.trim().split(',').toReversed();
  return groups.flatMap((group, place) => {
    const bits = Number.parseInt(group, 16);
    return Array.from({ length: 32 }, (_, bit) => bit)
      .filter((bit) => (bits >>> bit) & 1)
      .map((bit) => place * 32 + bit);
  });
}

function readText(root: number, path: string): string {
  const file = syscall(`open ${path} in sysfs`, SYS.openat, root, cString(path), O.RDONLY | O.CLOEXEC);
  try {
    const bytes = Buffer.alloc(SYSFS_BYTES);
    return bytes.toString('latin1', 0, readOnce(file, bytes) ?? 0);
  } finally {
    closeDescriptor(file);
  }
}

/**
 * sysfs shows the network namespace that it was mounted in, and mounting it anywhere would be seen by others: so it is
 * mounted nowhere (fsmount(2), Linux 5.2), and is gone with its descriptor.
 */
function inSysfs<T>(run: (root: number) => T): T {
  const context = syscall('fsopen sysfs', SYS.fsopen, cString('sysfs'), FSOPEN_CLOEXEC);
  let root = -1;
  try {
    syscall('fsconfig sysfs', SYS.fsconfig, context, FSCONFIG_CMD_CREATE, null, null, 0);
    root = syscall('fsmount sysfs', SYS.fsmount, context, FSMOUNT_CLOEXEC, 0);
    return run(root);
  } finally {
    for (const descriptor of [root, context]) if (descriptor >= 0) closeDescriptor(descriptor);
  }
}
