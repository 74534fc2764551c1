import { readlinkSync } from 'node:fs';
import { ComicranError } from '../base/errors.ts';
import { parentPid } from '../linux/process-identity.ts';

/**
 * Whether a process can become the root process: a child of this program in the sandbox.
 * @throws ComicranError process.gone: it is gone, or never was what it should be
 */
export function checkAdoptable(hostPid: number, initPid: number): void {
  const problem = ((): string | undefined => {
    const parent = parentPid(hostPid);
    if (parent === undefined) return 'there is no such process';
    if (parent !== process.pid) return `its parent is ${parent}, not jailor (${process.pid})`;
    const same = readlinkSync(`/proc/${hostPid}/ns/pid`) === readlinkSync(`/proc/${initPid}/ns/pid`);
    return same ? undefined : 'it is not in the sandbox';
  })();
  if (problem === undefined) return;
  throw new ComicranError('process.gone', `process ${hostPid} cannot become the root process: ${problem}`);
}
