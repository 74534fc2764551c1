/** The lab and what runs in it, driven by the public commands, for tests, bench and soak. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClientFigures, MigrationFigures } from '../../src/lab/demo/figures.ts';
import { parseJsonOutput, runComicran } from '../../src/lab/demo/program.ts';

export type Migrated = MigrationFigures;
export type ClientReport = ClientFigures;

export type Listed = {
  readonly name: string;
  readonly vm: string;
  readonly state: string;
  readonly service: string | null;
  readonly pid: number | null;
  readonly pidInside: number | null;
  readonly startedUnixMs: number | null;
  readonly exitCode: number | null;
};

export const EXAMPLES = join(import.meta.dirname, '../../examples');

export const ps = async (): Promise<Listed[]> =>
  parseJsonOutput(await runComicran(['smanager', 'ps', '--json'])) as Listed[];

export async function find(name: string): Promise<Listed | undefined> {
  return (await ps()).find((sandbox) => sandbox.name === name);
}

/** Resolves a base configuration and starts it. @param base file name under examples/, or a path. */
export async function start(base: string, vm: string): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-test-'));
  try {
    const full = join(directory, 'full.yaml');
    await runComicran(['configer', base.startsWith('/') ? base : join(EXAMPLES, base), '-o', full]);
    await runComicran(['smanager', 'start', full, '--on', vm]);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** @param fallback of a replicated migration */
export async function migrate(name: string, to: string, mode = 'stopcopy', fallback?: string): Promise<Migrated> {
  const words = ['smanager', 'migrate', name, '--to', to, '--mode', mode, '--json'];
  if (fallback !== undefined) words.push('--fallback', fallback);
  return parseJsonOutput(await runComicran(words)) as Migrated;
}

/** For answers that are missing: how busy the machine is says nothing about whether they come. */
const PATIENCE_SECONDS = 10;

/** The client in the lab's user-equipment node. @param graceSeconds for second answers */
export async function client(
  service: string,
  rate: number,
  seconds: number,
  graceSeconds = 0.5,
): Promise<ClientReport> {
  const command = ['lab', 'exec', 'ue', '--', 'comicran', 'client', service];
  return parseJsonOutput(
    await runComicran([
      ...command,
      '--rate',
      `${rate}`,
      '--duration',
      `${seconds}`,
      '--grace',
      `${graceSeconds}`,
      '--patience',
      `${PATIENCE_SECONDS}`,
      '--json',
    ]),
  ) as ClientReport;
}
