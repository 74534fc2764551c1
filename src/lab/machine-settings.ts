/** What the operator may choose about the virtual machines, as words of the command line. */
import { ComicranError } from '../base/errors.ts';
import { readBootId } from '../linux/boot-id.ts';
import { chooseAccelerator } from '../vm/accelerator.ts';
import { debianPackages } from '../vm/debian-packages.ts';
import type { MachineCount } from './layout.ts';
import { VM_CACHE } from './machines.ts';
import type { MachineSettings } from './record.ts';

const DEFAULT_MEMORY_MIB = 1024;

export type MachineWords = {
  readonly vms?: MachineCount | undefined;
  readonly accel?: 'auto' | 'kvm' | 'tcg' | undefined;
  /** `MODEL`, or `NAME=MODEL`; several. */
  readonly cpu?: readonly string[] | undefined;
  /** MiB */
  readonly memory?: number | undefined;
  /** Files. */
  readonly with?: readonly string[] | undefined;
  /** `NAME=SECONDS`; several. */
  readonly clock?: readonly string[] | undefined;
};

/** `vm1=x` for one machine, `x` for all of them. */
export function byMachine(words: readonly string[], names: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {};
  for (const word of words) {
    const at = word.indexOf('=');
    const name = at === -1 ? undefined : word.slice(0, at);
    if (name !== undefined && !names.includes(name)) {
      throw new ComicranError('usage', `'${word}': there is no virtual machine '${name}'`, {
        hint: `The virtual machines are ${names.join(', ')}.`,
      });
    }
    for (const each of name === undefined ? names : [name]) found[each] = word.slice(at + 1);
  }
  return found;
}

/** @throws ComicranError usage; needs.tool where there is no QEMU or no kernel for it. */
export async function chooseMachines(
  words: MachineWords,
  names: readonly string[],
  say: (text: string) => void,
): Promise<MachineSettings> {
  const packages = await debianPackages(VM_CACHE, say);
  const asked = words.accel ?? 'auto';
  const chosen =
    asked === 'auto'
      ? await chooseAccelerator(packages, { cache: VM_CACHE, bootId: readBootId(), say })
      : { accelerator: asked, why: 'as asked' };
  const how = chosen.accelerator === 'kvm' ? 'KVM' : 'software emulation (TCG)';
  say(`the virtual machines run by ${how}: ${chosen.why}\n`);
  const ahead = byMachine(words.clock ?? [], names);
  return {
    ...(words.vms === undefined ? {} : { count: words.vms }),
    accelerator: chosen.accelerator,
    cpus: byMachine(words.cpu ?? [], names),
    memoryMib: words.memory ?? DEFAULT_MEMORY_MIB,
    clocksAhead: Object.fromEntries(Object.entries(ahead).map(([name, text]) => [name, secondsOf(text)])),
    sandboxes: words.with ?? [],
  };
}

function secondsOf(text: string): number {
  const seconds = Number(text);
  if (Number.isSafeInteger(seconds)) return seconds;
  throw new ComicranError('usage', `--clock: '${text}' is not a whole number of seconds`);
}
