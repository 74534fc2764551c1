/**
 * What a process gets to know of the machine that it runs on: it goes on using it after a move, so that the destination
 * must have the same. (The restore engine compares once more, with what the image says.)
 */
import { ComicranError } from '../../base/errors.ts';
import type { KernelFacts } from '../../linux/kernel-facts.ts';

export type Platform = {
  readonly kernelRelease: string;
  readonly kernelVersion: string;
  readonly vdsoDigest: string;
  readonly cpuFeatures: readonly string[];
};

export function platformOf(facts: KernelFacts): Platform {
  const { release, version, vdsoDigest, cpuFeatures } = facts;
  return { kernelRelease: release, kernelVersion: version, vdsoDigest: vdsoDigest.toString('hex'), cpuFeatures };
}

/** @throws ComicranError image.kernel-mismatch, naming both sides of the first difference. */
export function checkPlatform(source: Platform, destination: Platform): void {
  const refuse = (what: string, hint: string): never => {
    throw new ComicranError('image.kernel-mismatch', `the machines differ: ${what}`, { hint });
  };
  const kernel = (platform: Platform): string => `${platform.kernelRelease} (${platform.kernelVersion})`;
  if (kernel(source) !== kernel(destination)) {
    refuse(
      `the source runs kernel ${kernel(source)}, the destination ${kernel(destination)}`,
      'Run the same kernel on both.',
    );
  }
  const lacking = source.cpuFeatures.filter((feature) => !destination.cpuFeatures.includes(feature));
  if (lacking.length > 0) {
    refuse(`the CPU of the destination lacks ${lacking.join(', ')}`, 'Give both machines the same CPU model.');
  }
  const extra = destination.cpuFeatures.filter((feature) => !source.cpuFeatures.includes(feature));
  if (extra.some((feature) => /^(avx512|amx|xsave)/.test(feature))) {
    refuse(
      `the CPU of the destination saves more state (${extra.join(', ')})`,
      'Give both machines the same CPU model.',
    );
  }
  // One kernel writes it for the CPU that it runs on.
  if (source.vdsoDigest !== destination.vdsoDigest) {
    refuse(
      `both run kernel ${kernel(source)}, which has made their vDSOs for CPUs of different kinds`,
      'Give both machines the same CPU model.',
    );
  }
}
