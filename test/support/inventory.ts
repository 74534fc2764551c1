/** What exists on this machine that this project could leave behind: compared before and after a test. */
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { labPlace } from '../../src/base/lab-place.ts';

export type Inventory = Readonly<Record<string, readonly string[]>>;

const lines = (text: string): string[] => text.split('\n').filter((line) => line.trim() !== '');

function output(command: string, args: readonly string[]): string[] {
  return lines(execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
}

/** Command lines, by pid, of this project's processes and of what runs in its sandboxes, which have cgroups of their own. */
function processes(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').trim();
        const ours = /src\/cli\/main|dist\/cli\/(main|jailor-run)/.test(command);
        const inSandbox = /\/comicran-[0-9a-f]{8}/.test(readFileSync(`/proc/${pid}/cgroup`, 'latin1'));
        return ours || inSandbox ? [`${pid} ${command}`] : [];
      } catch {
        return []; // ended meanwhile
      }
    });
}

function mounts(): string[] {
  return lines(readFileSync('/proc/self/mountinfo', 'utf8'))
    .map((line) => line.split(' ')[4]!)
    .filter((at) => at.includes('comicran'));
}

/** @param stateDirectories whose files count. */
export function takeInventory(stateDirectories: readonly string[] = []): Inventory {
  const { prefix } = labPlace(process.env['COMICRAN_LAB']);
  const netns = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  return {
    'network namespaces': netns.filter((name) => name.startsWith(`${prefix}-`)).toSorted(),
    links: output('ip', ['-o', 'link'])
      .map((line) => line.split(':')[1]!.trim())
      .toSorted(),
    'nftables tables': existsSync('/usr/sbin/nft') ? output('nft', ['list', 'tables']).toSorted() : [],
    mounts: mounts().toSorted(),
    cgroups: globSync('/sys/fs/cgroup/{.,*,comicran,*/comicran}/comicran-*').toSorted(),
    processes: processes().toSorted(),
    files: stateDirectories
      .flatMap((directory) =>
        existsSync(directory) ? readdirSync(directory, { recursive: true, encoding: 'utf8' }) : [],
      )
      .toSorted(),
  };
}

/** What is in `after` and was not in `before`, named: empty when nothing was left behind. */
export function leftBehind(before: Inventory, after: Inventory): string[] {
  return Object.entries(after).flatMap(([kind, items]) =>
    items.filter((item) => !(before[kind] ?? []).includes(item)).map((item) => `${kind}: ${item}`),
  );
}

/** Number of open descriptors of a process. */
export function descriptorCount(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}
