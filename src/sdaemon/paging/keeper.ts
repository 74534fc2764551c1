/** Who holds the userfaultfds of a process beside this program, and how the next one finds them. */

import type { SandboxState } from '../../jailor/state.ts';
import { closeDescriptor, getDescriptor } from '../../linux/pidfd.ts';
import type { KeptSpace } from './fault-session.ts';

/**
 * As long as one copy of a userfaultfd is open, whoever touches a missing page waits for a daemon to adopt it; without one,
 * missing pages are zeros. The jailor of the sandbox is a keeper (sandboxes/jailors.ts): it lives as long as the process.
 */
export interface Keeper {
  /** Takes a copy of a descriptor of this program. @param name of it, to find it again. */
  keep(name: string, descriptor: number): Promise<void>;
  /** Closes the copy; nothing happens where there is none. */
  drop(name: string): Promise<void>;
}

/**
 * Takes the userfaultfds of a process from the jailor that has kept them for an earlier run of this program; they are
 * kept on. For PagingClient.adoptPaging.
 *
 * @param journal under which they were kept: PagingOptions.journal.
 * @returns undefined: nothing is kept, so nothing is missing. @throws KernelError ESRCH: jailor is gone.
 */
export function takeKept(
  { jailor, kept }: Pick<SandboxState, 'jailor' | 'kept'>,
  journal: string,
): { readonly userfault: number; readonly journal: string; readonly children: readonly KeptSpace[] } | undefined {
  const ofProcess = kept.filter(({ name }) => name === journal || name.startsWith(`${journal}.`));
  const taken: KeptSpace[] = [];
  try {
    for (const { name, descriptor } of ofProcess)
      taken.push({ journal: name, descriptor: getDescriptor(jailor.pid, descriptor) });
  } catch (error) {
    for (const { descriptor } of taken) closeDescriptor(descriptor);
    throw error;
  }
  const own = taken.find((space) => space.journal === journal);
  if (own === undefined) {
    for (const { descriptor } of taken) closeDescriptor(descriptor);
    return undefined;
  }
  return { userfault: own.descriptor, journal, children: taken.filter((space) => space !== own) };
}
