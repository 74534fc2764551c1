/** Whether this machine can stand in for the one that an image comes from. */
import { ComicranError } from '../base/errors.ts';
import type { MappedFile, PlatformImage } from '../image/types.ts';
import type { FileLook } from '../linux/file-digest.ts';
import { areSameIds, type IdMaps, outsideId } from '../linux/id-map.ts';
import type { KernelFacts } from '../linux/kernel-facts.ts';

/** @throws ComicranError image.kernel-mismatch, naming both sides. */
export function checkPlatform(image: PlatformImage, here: KernelFacts): void {
  const kernel = `${image.kernelRelease} (${image.kernelVersion})`;
  const own = `${here.release} (${here.version})`;
  if (kernel !== own)
    throw new ComicranError('image.kernel-mismatch', `the process comes from kernel ${kernel}, this is ${own}`, {
      hint: 'Processes have pointers into the code that a kernel maps into them: use the same kernel on both machines.',
    });
  const missing = image.cpuFeatures.filter((feature) => !here.cpuFeatures.includes(feature));
  if (missing.length > 0)
    throw new ComicranError('image.kernel-mismatch', `this CPU lacks what the source's has: ${missing.join(', ')}`, {
      hint: 'Move it to a machine with the same CPU, or give the source a CPU model that both have.',
    });
  // One kernel writes it for the CPU that it runs on.
  if (!here.vdsoDigest.equals(image.vdsoDigest))
    throw new ComicranError('image.kernel-mismatch', `kernel ${kernel} has made another vDSO for the source's CPU`, {
      hint: 'Processes have pointers into that code: give both machines the same CPU model.',
    });
}

/** @throws ComicranError process.unsupported: the users of the sandbox are others on this machine. */
export function checkIds(image: IdMaps, here: IdMaps): void {
  if (areSameIds(image, here)) return;
  const told = ({ users }: IdMaps): string =>
    users.length === 0 ? 'root of the machine' : `user ${outsideId(users, 0)} of the machine`;
  const problem = `root inside was ${told(image)} at the source and is ${told(here)} at the destination`;
  throw new ComicranError('process.unsupported', problem, {
    hint: 'Both sandboxes must be made by the same version of this program from the same full configuration.',
  });
}

/** @throws ComicranError process.unsupported: a file is missing in the sandbox or is another one. */
export function checkFiles(files: readonly MappedFile[], look: (path: string) => FileLook | null): void {
  for (const file of files) {
    const found = look(file.path);
    if (found === null) throw filesDiffer(`${file.path} is missing in the sandbox of the destination`);
    if (found.size !== file.size || !found.headDigest.equals(file.headDigest))
      throw filesDiffer(`${file.path} is another file at the destination`);
  }
}

function filesDiffer(problem: string): ComicranError {
  return new ComicranError('process.unsupported', problem, {
    hint: 'The sandbox must have the same files on both machines: make it from the same full configuration.',
  });
}
