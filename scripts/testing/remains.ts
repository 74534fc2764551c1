/** What tests may not leave behind, looked for from outside of them. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { labPlace } from '../../src/base/lab-place.ts';
import { listNamedNetns } from '../../src/linux/netns.ts';
import { type Inventory, leftBehind, takeInventory } from '../../test/support/inventory.ts';

const COMICRAN = join(import.meta.dirname, '../../bin/comicran');
/** For what ends by itself, and is told to before a test ends. */
const PATIENCE_MS = 10_000;

/** Each lane has a lab of its own, beside the one that a person may have. @param base COMICRAN_LAB of whoever runs the tests */
export function labOf(lane: number, base: string | undefined): string {
  return `${base === undefined || base === '' ? 'test' : base.slice(0, 7)}${lane}`;
}

/** Network namespaces, directories and processes of a lab: none when it has been taken down. */
export function remainsOf(lab: string): string[] {
  const { prefix, directory, runDirectory } = labPlace(lab);
  const processes = readdirSync('/proc').flatMap((pid) => {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
      return /^\d+$/.test(pid) && command.includes(`${directory}/`) ? [`process ${pid}: ${command}`] : [];
    } catch {
      return []; // no process, or none any more
    }
  });
  return [
    ...listNamedNetns().filter((name) => name.startsWith(`${prefix}-`)),
    ...[directory, runDirectory].filter((path) => existsSync(path)),
    ...processes,
  ];
}

export function takeLabDown(lab: string): void {
  execFileSync(COMICRAN, ['lab', 'down'], { env: { ...process.env, COMICRAN_LAB: lab }, stdio: 'ignore' });
}

/** Labs on this machine that are none of these: somebody else uses it, too. */
export function otherLabs(own: readonly string[]): string[] {
  const names = listNamedNetns().flatMap((name) => /^(.+)-ue$/.exec(name)?.[1] ?? []);
  return names.filter((name) => !own.includes(name));
}

/** Of the whole machine. */
export function takeMachine(): Inventory {
  // Other programs come and go: their links are none of ours.
  const { links = [], ...rest } = takeInventory();
  const ours = links.filter((name) => /^cr/.test(name));
  return { ...rest, links: ours, 'network namespaces': listNamedNetns() };
}

/** @returns what is there that was not there before, and stays. */
export async function stays(before: Inventory): Promise<string[]> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const left = leftBehind(before, takeMachine());
    if (left.length === 0 || performance.now() > deadline) return left;
    await sleep(200);
  }
}
