/**
 * Which CPU handles what a device receives: receive packet steering (Documentation/networking/scaling.rst). With one CPU
 * for all of it packets get to their sockets in the order in which the device got them; without, two CPUs may swap them.
 */
import { availableParallelism } from 'node:os';
import { writeAll } from './file-descriptors.ts';
import { cString, syscall } from './libc.ts';
import { O } from './open-flags.ts';
import { closeDescriptor } from './pidfd.ts';
import { SYS } from './syscall-numbers.ts';

const FSCONFIG_CMD_CREATE = 6;
const FSMOUNT_CLOEXEC = 1;
const FSOPEN_CLOEXEC = 1;

/** A CPU number as the mask that sysfs takes: groups of 32 bits in hexadecimal, the highest first. */
export function cpuMask(cpu: number): string {
  return [(1 << (cpu % 32)) >>> 0, ...Array<number>(Math.floor(cpu / 32)).fill(0)]
    .map((group) => group.toString(16).padStart(8, '0'))
    .join(',');
}

/**
 * Has one CPU handle all that a device receives. In the network namespace of the calling thread.
 *
 * sysfs shows the network namespace that it was mounted in, and mounting it anywhere would be seen by others: so it is
 * mounted nowhere (fsmount(2), Linux 5.2), and is gone with its descriptor.
 *
 * @param seed picks the CPU: different devices should not all have the same one.
 * @throws KernelError ENOENT: no such device, or a kernel without steering
 */
export function receiveOnOneCpu(link: string, seed: number): void {
  const context = syscall('fsopen sysfs', SYS.fsopen, cString('sysfs'), FSOPEN_CLOEXEC);
  let root = -1;
  let file = -1;
  try {
    syscall('fsconfig sysfs', SYS.fsconfig, context, FSCONFIG_CMD_CREATE, null, null, 0);
    root = syscall('fsmount sysfs', SYS.fsmount, context, FSMOUNT_CLOEXEC, 0);
    const path = `class/net/${link}/queues/rx-0/rps_cpus`;
    file = syscall(`open ${path} in sysfs`, SYS.openat, root, cString(path), O.WRONLY | O.CLOEXEC);
    writeAll(file, Buffer.from(cpuMask(seed % availableParallelism())));
  } finally {
    for (const descriptor of [file, root, context]) if (descriptor >= 0) closeDescriptor(descriptor);
  }
}
