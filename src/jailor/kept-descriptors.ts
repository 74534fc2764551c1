/** Descriptors of other processes that jailor keeps for a daemon, by name, should that be killed. */
import { ComicranError } from '../base/errors.ts';
import { closeDescriptor, getDescriptor } from '../linux/pidfd.ts';
import type { KeptDescriptor } from './state.ts';

/** Copies a descriptor of another process. @throws ComicranError process.gone: there is no such process or descriptor */
export function copyDescriptor(pid: number, descriptor: number): number {
  try {
    return getDescriptor(pid, descriptor);
  } catch (cause) {
    throw new ComicranError('process.gone', `descriptor ${descriptor} of process ${pid} cannot be had`, { cause });
  }
}

/** Closes what is kept under a name, if anything is. @returns what else is kept. */
export function withoutKept(kept: readonly KeptDescriptor[], name: string): readonly KeptDescriptor[] {
  for (const one of kept) if (one.name === name) closeDescriptor(one.descriptor);
  return kept.filter((one) => one.name !== name);
}
