/** `smanager takeover`: a machine that holds a whole copy of a sandbox goes on without the machine that it is moved from. */
import type { Command } from 'commander';
import type { TakeOverResponse } from '../api/gen/comicran_pb.ts';
import { ComicranError } from '../base/errors.ts';
import { formatMicros, plural } from '../base/units.ts';
import type { CommandContext } from './command-context.ts';
import { type Fleet, isSilent } from './fleet.ts';
import { examples } from './help.ts';
import { machineOf } from './operations.ts';
import { telling } from './telling.ts';

/** Until the death of the source has been noticed there, the sdn has answered and the copy runs; on slow machines too. */
const TIMEOUT_MS = 300_000;

type Flags = { readonly fromDead: string; readonly machineIsOff?: true; readonly json?: true };

const HELP = `
For a machine that died in a replicated migration away from it, before the cutover: the copy at the destination is whole,
silent, and kept. It takes over; the sdn node takes nothing any more that comes of the sandbox from the dead machine, and
its daemon, should it come back, ends what is left there.

The copy goes on from the last word of the dead machine. What that had taken or answered behind its last word is lost, and
what it may have answered and the copy answers now is counted. If the machine may only be out of reach, wait: where it comes
back before this command the sandbox runs on there, and the copy is thrown away.

--machine-is-off: you have made sure that nothing runs there. It is asked for where the sdn node could not shut the machine
out: a sandbox with published ports, two machines behind one link.
${examples('takeover square --from-dead vm1', 'takeover square --from-dead vm1 --machine-is-off --json')}`;

/** @throws ComicranError migration.refused: it answers */
async function checkIsSilent(fleet: Fleet, name: string, vm: string): Promise<void> {
  try {
    await fleet.vm(vm).info({}, fleet.look);
  } catch (thrown) {
    if (isSilent(thrown)) return;
    throw thrown;
  }
  throw new ComicranError('migration.refused', `the daemon of ${vm} answers: ${vm} is not dead, and keeps '${name}'`, {
    hint: `Move it with 'comicran smanager migrate ${name} VM'; 'comicran smanager ps' shows how it is.`,
  });
}

/** The machine that a copy of it has come to. @throws ComicranError migration.refused */
async function copyOf(fleet: Fleet, name: string, fromVm: string): Promise<string> {
  const others = fleet.vmNames().filter((vm) => vm !== fromVm);
  const silent: string[] = [];
  const found = await Promise.all(
    others.map(async (vm) => {
      try {
        const { sandboxes } = await fleet.vm(vm).list({}, fleet.look);
        return sandboxes.some((one) => one.name === name && one.state === 'arriving') ? vm : undefined;
      } catch (thrown) {
        if (!isSilent(thrown)) throw thrown;
        silent.push(vm);
        return undefined;
      }
    }),
  );
  const vm = found.find((one) => one !== undefined);
  if (vm !== undefined) return vm;
  const doubt = silent.length === 0 ? '' : ` (${silent.join(', ')} did not answer)`;
  throw new ComicranError('migration.refused', `no machine has a copy of '${name}' that could take over${doubt}`, {
    hint: `It was not being moved when ${fromVm} fell silent, or ${fromVm} has been back since. Where its process is lost: end it on ${fromVm} when that is back, or start it anew under another name.`,
  });
}

async function takeOver(fleet: Fleet, name: string, { fromDead, machineIsOff }: Flags): Promise<TakeOverResponse> {
  // A name that is not known is said before anybody is asked.
  fleet.endpointOf(fromDead);
  const owner = await machineOf(fleet, name);
  if (owner !== fromDead) {
    throw new ComicranError('migration.refused', `'${name}' is on ${owner}, not on ${fromDead}`, {
      hint: "'comicran smanager ps' shows where it runs.",
    });
  }
  await checkIsSilent(fleet, name, fromDead);
  const vm = await copyOf(fleet, name, fromDead);
  const request = { name, fromVm: fromDead, machineIsOff: machineIsOff === true };
  return fleet.vm(vm).takeOver(request, { timeoutMs: TIMEOUT_MS });
}

export function takeoverJson(name: string, taken: TakeOverResponse): object {
  return {
    ...{ name, from: taken.fromVm, to: taken.toVm, epoch: Number(taken.epoch), gapUs: Number(taken.gapUs) },
    ...{ inputsReplayed: Number(taken.inputsReplayed), outputsCompared: Number(taken.outputsCompared) },
    ...{ outputsReleased: Number(taken.outputsReleased), mayRepeat: Number(taken.mayRepeat) },
  };
}

export function renderTakeover(name: string, taken: TakeOverResponse): string {
  const { fromVm, toVm, epoch, gapUs, inputsReplayed, outputsCompared, outputsReleased, mayRepeat } = taken;
  return `'${name}' runs on ${toVm} now (epoch ${epoch}): its copy there has taken over from ${fromVm}
  nobody may have answered for   ${formatMicros(Number(gapUs))}
  the copy had been given        ${plural(Number(inputsReplayed), 'datagram')}, and ${plural(Number(outputsCompared), 'answer')} compared
  it had ready and has sent      ${plural(Number(outputsReleased), 'answer')}, of which ${fromVm} may have sent ${mayRepeat} as well
  lost, and not to be counted    what ${fromVm} had taken or answered behind its last word to ${toVm}
`;
}

export function addTakeoverCommand(program: Command, context: CommandContext): void {
  program
    .command('takeover')
    .description('have the copy of a sandbox go on whose machine died while it was being moved')
    .argument('<name>')
    .requiredOption('--from-dead <vm>', 'the machine that is dead')
    .option('--machine-is-off', 'nothing runs there any more: you have made sure of it')
    .option('--json', 'the result as a JSON object')
    .addHelpText('after', HELP)
    .action((name: string, flags: Flags) =>
      telling(context, { json: flags.json, name }, async () => {
        const taken = await takeOver(await context.fleet(), name, flags);
        const { json } = flags;
        context.print(json ? `${JSON.stringify(takeoverJson(name, taken), null, 2)}\n` : renderTakeover(name, taken));
      }),
    );
}
