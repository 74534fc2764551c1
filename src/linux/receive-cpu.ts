/**
 * Which CPU handles what a device receives: receive packet steering (Documentation/networking/scaling.rst). With one CPU
 * for all of it packets get to their sockets in the order in which the device got them; without, two CPUs may swap them.
 */
import { defined } from '../base/assert.ts';
import { statAt, writeAll } from './file-descriptors.ts';
import { cString } from './libc.ts';
import { O } from './open-flags.ts';
import { closeDescriptor } from './pidfd.ts';
import { cpusOf, getAffinity } from './scheduling.ts';
import { inSysfs, openInSysfs, readInSysfs } from './sysfs.ts';

/** A CPU number as the mask that sysfs takes: groups of 32 bits in hexadecimal, the highest first. */
export function cpuMask(cpu: number): string {
  return [(1 << (cpu % 32)) >>> 0, ...Array<number>(Math.floor(cpu / 32)).fill(0)]
    .map((group) => group.toString(16).padStart(8, '0'))
    .join(',');
}

/** One of the CPUs of a mask (bit n of byte n/8, not empty), the same for the same seed. */
export function pickCpu(affinity: Uint8Array, seed: number): number {
  const cpus = cpusOf(affinity);
  return defined(cpus[seed % cpus.length], 'a CPU to run on');
}

/**
 * Has one CPU handle all that a device receives. In the network namespace of the calling thread. Where one does already it
 * stays: with another one two packets could be swapped. It is a CPU that the calling thread may run on: who reads the order
 * of the packets has to get there.
 *
 * @param seed picks the CPU: different devices should not all have the same one.
 * @throws KernelError ENOENT: no such device, or a kernel without steering
 */
export function receiveOnOneCpu(link: string, seed: number): void {
  if (receiveSteering(link).cpus.length !== 1) setReceiveMask(link, cpuMask(pickCpu(getAffinity(0), seed)));
}

/** Each packet is handled by the CPU that it came in on. In the network namespace of the calling thread. */
export function receiveOnAnyCpu(link: string): void {
  setReceiveMask(link, '0');
}

function setReceiveMask(link: string, mask: string): void {
  inSysfs((root) => {
    const file = openInSysfs(root, `class/net/${link}/queues/rx-0/rps_cpus`, O.WRONLY);
    try {
      writeAll(file, Buffer.from(mask));
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
    const read = (path: string): string => readInSysfs(root, path);
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
