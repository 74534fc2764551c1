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
    const [own, expected] = [pidNamespace(hostPid), pidNamespace(initPid)];
    // It may end between two looks at it.
    if (own === undefined) return 'it has ended';
    return own === expected ? undefined : 'it is not in the sandbox';
  })();
  if (problem === undefined) return;
  throw new ComicranError('process.gone', `process ${hostPid} cannot become the root process: ${problem}`);
}

/** @returns undefined where the process is gone */
function pidNamespace(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined;
  }
}
