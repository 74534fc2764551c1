/** `smanager store`: the files of sandboxes that the machines keep, each once. */
import type { Command } from 'commander';
import { formatTable } from '../base/table.ts';
import { formatBytes } from '../base/units.ts';
import type { CommandContext } from './command-context.ts';
import { type Fleet, isSilent } from './fleet.ts';
import { examples } from './help.ts';
import { telling } from './telling.ts';

/** Reading what another hand has touched, and removing, take their time. */
const TIMEOUT_MS = 60_000;

export type StoreRow = {
  readonly vm: string;
  readonly files: number;
  readonly bytes: number;
  readonly trees: number;
  readonly treesInUse: number;
  readonly unusedFiles: number;
  readonly unusedBytes: number;
  readonly removedFiles: number;
  readonly removedBytes: number;
};

/** Null: the machine does not answer. */
type Answer = StoreRow | { readonly vm: string; readonly files: null };

async function askOne(fleet: Fleet, vm: string, prune: boolean): Promise<Answer> {
  try {
    const answer = await fleet.vm(vm).store({ prune }, { timeoutMs: TIMEOUT_MS });
    return {
      ...{ vm, files: Number(answer.files), bytes: Number(answer.bytes) },
      ...{ trees: Number(answer.trees), treesInUse: Number(answer.treesInUse) },
      ...{ unusedFiles: Number(answer.unusedFiles), unusedBytes: Number(answer.unusedBytes) },
      ...{ removedFiles: Number(answer.removedFiles), removedBytes: Number(answer.removedBytes) },
    };
  } catch (thrown) {
    if (!isSilent(thrown)) throw thrown;
    return { vm, files: null };
  }
}

function renderStores(rows: readonly Answer[], pruned: boolean): string {
  const cell = (show: (row: StoreRow) => string) => (row: Answer) => (row.files === null ? '-' : show(row));
  return formatTable<Answer>(
    [
      { title: 'vm', cell: (row) => row.vm },
      { title: 'files', cell: cell((row) => String(row.files)), align: 'right' },
      { title: 'size', cell: cell((row) => formatBytes(row.bytes)), align: 'right' },
      { title: 'trees', cell: cell((row) => `${row.trees} (${row.treesInUse} in use)`) },
      { title: 'unused', cell: cell((row) => `${row.unusedFiles} files, ${formatBytes(row.unusedBytes)}`) },
      ...(pruned
        ? [{ title: 'removed', cell: cell((row) => `${row.removedFiles} files, ${formatBytes(row.removedBytes)}`) }]
        : []),
    ],
    rows,
  );
}

type StoreFlags = { readonly on?: string; readonly prune?: true; readonly json?: true };

export function addStoreCommand(program: Command, context: CommandContext): void {
  program
    .command('store')
    .description('what the machines keep of the files of sandboxes, and how much of it no sandbox has')
    .option('--on <vm>', 'one machine (default: all)')
    .option('--prune', 'remove what no sandbox has')
    .option('--json', 'as a JSON array')
    .addHelpText('after', examples('store', 'store --prune', 'store --on vm1 --json'))
    .action(({ on, prune, json }: StoreFlags) =>
      telling(context, { json }, async () => {
        const fleet = await context.fleet();
        const vms = on === undefined ? fleet.vmNames() : [on];
        const rows = await Promise.all(vms.map((vm) => askOne(fleet, vm, prune === true)));
        context.print(json ? `${JSON.stringify(rows, null, 2)}\n` : renderStores(rows, prune === true));
      }),
    );
}
