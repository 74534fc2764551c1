/**
 * The demonstration: the whole chain by its public faces, as a user would type it. Lab up, configer, smanager start, a
 * client at a steady rate while the server moves there and back, and the same client again without a migration.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cleanup } from '../../base/cleanup.ts';
import { ComicranError, describeError } from '../../base/errors.ts';
import { parseJsonOutput, runComicran } from './program.ts';
import type { ClientFigures, DemoReport, MigrationFigures } from './report.ts';

export type DemoOptions = {
  readonly mode: string;
  /** Requests a second. */
  readonly rate: number;
  /** There and back is two. */
  readonly migrations: number;
  /** Leaves the lab and the server running. */
  readonly keep: boolean;
  readonly say: (text: string) => void;
};

const SANDBOX = 'square';
const BASE_CONFIG = join(import.meta.dirname, '../../../examples/square.yaml');
/** Exit code of `lab status`. */
const LAB_NOT_UP = 3;
const BEFORE_SECONDS = 1;
const BETWEEN_SECONDS = 1.5;

type ListedSandbox = { readonly name: string; readonly vm: string; readonly service: string };

async function sandboxes(): Promise<ListedSandbox[]> {
  return parseJsonOutput(await runComicran(['smanager', 'ps', '--json'])) as ListedSandbox[];
}

async function labIsUp(): Promise<boolean> {
  const words = ['lab', 'status', '--json'];
  const status = parseJsonOutput(await runComicran(words, { accept: [LAB_NOT_UP] })) as { up: boolean };
  return status.up;
}

async function runClient(service: string, options: DemoOptions, seconds: number): Promise<ClientFigures> {
  const words = ['--rate', String(options.rate), '--duration', String(seconds), '--json'];
  const command = ['lab', 'exec', 'ue', '--', 'comicran', 'client', service, ...words];
  return parseJsonOutput(await runComicran(command)) as ClientFigures;
}

async function migrate(from: string, to: string, options: DemoOptions): Promise<MigrationFigures> {
  options.say(`\nmoving '${SANDBOX}' from ${from} to ${to} (${options.mode})\n`);
  const command = ['smanager', 'migrate', SANDBOX, '--to', to, '--mode', options.mode, '--json'];
  return parseJsonOutput(await runComicran(command, { onProgress: options.say })) as MigrationFigures;
}

/** Moves the server back and forth while the client asks it. The client is always waited for: it stops by itself. */
async function measured(
  service: string,
  seconds: number,
  options: DemoOptions,
): Promise<Pick<DemoReport, 'client' | 'migrations'>> {
  const client = runClient(service, options, seconds);
  // Seen again at the await below; without this a failing client would end the program before that.
  client.catch(() => undefined);
  const migrations: MigrationFigures[] = [];
  await sleep(BEFORE_SECONDS * 1000);
  try {
    for (let round = 0; round < options.migrations; round++) {
      const [from, to] = round % 2 === 0 ? (['vm1', 'vm2'] as const) : (['vm2', 'vm1'] as const);
      migrations.push(await migrate(from, to, options));
      await sleep(BETWEEN_SECONDS * 1000);
    }
  } finally {
    await client.catch(() => undefined);
  }
  return { client: await client, migrations };
}

/** @returns the report. @throws ComicranError when a step fails; what the demonstration made is taken down first. */
export async function runDemo(options: DemoOptions): Promise<DemoReport> {
  const cleanup = new Cleanup();
  try {
    const wasUp = await labIsUp();
    options.say(wasUp ? 'using the lab that is up\n' : 'bringing the lab up\n');
    if (!wasUp && !options.keep) cleanup.defer('lab down', async () => void (await runComicran(['lab', 'down'])));
    await runComicran(['lab', 'up'], { onProgress: options.say });
    if ((await sandboxes()).some(({ name }) => name === SANDBOX)) {
      throw new ComicranError('sandbox.exists', `a sandbox '${SANDBOX}' is there already`, {
        hint: `End it with 'comicran smanager terminate ${SANDBOX}', or the lab with 'comicran lab down'.`,
      });
    }

    const directory = mkdtempSync(join(tmpdir(), 'comicran-demo-'));
    cleanup.defer('remove the full configuration', () => rmSync(directory, { recursive: true, force: true }));
    const full = join(directory, 'square.full.yaml');
    options.say('resolving what the server needs\n');
    await runComicran(['configer', BASE_CONFIG, '-o', full], { onProgress: options.say });
    options.say('starting the server on vm1\n');
    if (wasUp && !options.keep) {
      cleanup.defer('terminate the server', async () => void (await runComicran(['smanager', 'terminate', SANDBOX])));
    }
    await runComicran(['smanager', 'start', full, '--on', 'vm1']);
    const service = (await sandboxes()).find(({ name }) => name === SANDBOX)?.service;
    if (service === undefined || service === null)
      throw new ComicranError('lab.state', `'${SANDBOX}' has no service at the sdn`);

    // Long enough for every migration to fall into the run, also on a machine that is short of time.
    const seconds = BEFORE_SECONDS + options.migrations * (BETWEEN_SECONDS + 1.5) + 1;
    options.say(`asking ${service} ${options.rate} times a second for ${seconds} s\n`);
    const { client, migrations } = await measured(service, seconds, options);
    options.say(`\nthe control: the same for ${seconds} s without a migration\n`);
    const control = await runClient(service, options, seconds);
    return { mode: options.mode, migrations, client, control };
  } finally {
    for (const failure of await cleanup.run()) options.say(`clean-up: ${describeError(failure)}\n`);
  }
}
