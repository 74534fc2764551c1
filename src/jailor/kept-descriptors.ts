/** Descriptors of other processes that jailor keeps for a daemon, by name, should that be killed. */
import { ComicranError } from '../base/errors.ts';
import { closeDescriptor, getDescriptor } from '../linux/pidfd.ts';
import type { Sandbox } from './sandbox.ts';
import type { KeptDescriptor } from './state.ts';

export class KeptDescriptors {
  readonly #sandbox: Sandbox;

  constructor(sandbox: Sandbox) {
    this.#sandbox = sandbox;
  }

  /**
   * Keeps a copy of a descriptor of another process, in the place of what was kept under that name, for as long as the
   * sandbox lives or until it is dropped.
   *
   * @throws ComicranError sandbox.not-running; process.gone: there is no such process or descriptor
   */
  keep(name: string, pid: number, descriptor: number): void {
    const { isEnding, told, state } = this.#sandbox;
    if (isEnding) throw this.#sandbox.notRunning('asked to keep anything');
    const copy = copyDescriptor(pid, descriptor);
    const others = withoutKept(state.kept, name);
    told.become({ kept: [...others, { name, descriptor: copy }] });
  }

  /** Closes what is kept under a name; nothing happens where nothing is. */
  drop(name: string): void {
    const { told, state } = this.#sandbox;
    if (state.kept.some((one) => one.name === name)) told.become({ kept: withoutKept(state.kept, name) });
  }

  /** At the end of the sandbox, which forgets them then. */
  closeAll(): void {
    for (const { descriptor } of this.#sandbox.state.kept) closeDescriptor(descriptor);
  }
}

function copyDescriptor(pid: number, descriptor: number): number {
  try {
    return getDescriptor(pid, descriptor);
  } catch (cause) {
    throw new ComicranError('process.gone', `descriptor ${descriptor} of process ${pid} cannot be had`, { cause });
  }
}

/** Closes what is kept under a name, if anything is. @returns what else is kept. */
function withoutKept(kept: readonly KeptDescriptor[], name: string): readonly KeptDescriptor[] {
  for (const one of kept) if (one.name === name) closeDescriptor(one.descriptor);
  return kept.filter((one) => one.name !== name);
}
