/**
 * The demonstration: the whole chain by its public faces, as a user would type it. Lab up, configer, smanager start, a
 * client at a steady rate while the server moves back and forth, the same in each of the other modes, and the same client
 * again without a migration.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cleanup } from '../../base/cleanup.ts';
import { ComicranError, describeError, messageOf } from '../../base/errors.ts';
import type { MachineCount } from '../layout.ts';
import type { ClientFigures, MigrationFigures, PlanFigures } from './figures.ts';
import { Load } from './load.ts';
import { MODES } from './modes.ts';
import { parseJsonOutput, runComicran } from './program.ts';
import { type DemoReport, MIGRATION, type ModeRun } from './report.ts';

export type DemoOptions = {
  /** Undefined: the first of {@link MODES} that is offered. */
  readonly mode: string | undefined;
  /** Requests a second. */
  readonly rate: number;
  /** There and back is two. */
  readonly migrations: number;
  /** In each of the other modes. */
  readonly compared: number;
  /** Between real virtual machines. */
  /** Between real virtual machines; undefined: network namespaces. */
  readonly vms: MachineCount | undefined;
  /** Leaves the lab and the server running. */
  readonly keep: boolean;
  readonly say: (text: string) => void;
};

const SANDBOX = 'square';
const BASE_CONFIG = join(import.meta.dirname, '../../../examples/square.yaml');
/** Exit code of `lab status`. */
const LAB_NOT_UP = 3;
const BEFORE_SECONDS = 1;
/** Also for a virtual machine under emulation. */
const START_SECONDS = 120;
const BETWEEN_SECONDS = 0.6;
/** By emulation a stop takes as long as the whole of a migration elsewhere, and what waits meanwhile is answered one by one. */
const VMS_PATIENCE_SECONDS = 120;
const LONGEST_CONTROL_SECONDS = 20;
/** A client that nobody ends, because this program was killed, ends then. */
const LONGEST_RUN_SECONDS = 600;

/** A client waits only while answers are missing. */
const patience = ({ vms }: DemoOptions) => (vms !== undefined ? { patienceSeconds: VMS_PATIENCE_SECONDS } : {});

type ListedSandbox = { readonly name: string; readonly vm: string; readonly service: string };

async function sandboxes(): Promise<ListedSandbox[]> {
  return parseJsonOutput(await runComicran(['smanager', 'ps', '--json'])) as ListedSandbox[];
}

async function labIsUp(): Promise<boolean> {
  const words = ['lab', 'status', '--json'];
  const status = parseJsonOutput(await runComicran(words, { accept: [LAB_NOT_UP] })) as { up: boolean };
  return status.up;
}

/** Modes that the daemons can move the server in; the others with why not. */
async function offeredModes(): Promise<{ offered: string[]; missing: Record<string, string> }> {
  const words = ['smanager', 'migrate', SANDBOX, 'vm2', '--dry-run', '--json'];
  const { modes } = parseJsonOutput(await runComicran(words)) as PlanFigures;
  const why = (mode: string): string | undefined => {
    const planned = modes.find((each) => each.mode === mode);
    return planned === undefined ? 'this version does not have it' : (planned.whyNot ?? undefined);
  };
  const missing = MODES.flatMap((mode): [string, string][] => {
    const reason = why(mode);
    return reason === undefined ? [] : [[mode, reason]];
  });
  return { offered: MODES.filter((mode) => why(mode) === undefined), missing: Object.fromEntries(missing) };
}

async function migrate(mode: string, from: string, options: DemoOptions): Promise<MigrationFigures> {
  const to = from === 'vm1' ? 'vm2' : 'vm1';
  options.say(`\nmoving '${SANDBOX}' from ${from} to ${to} (${mode})\n`);
  const command = ['smanager', 'migrate', SANDBOX, to, '--mode', mode, '--json'];
  return parseJsonOutput(await runComicran(command, { onProgress: options.say })) as MigrationFigures;
}

/** Moves the server back and forth while a client asks it. A move that fails ends the run, and is in what it returns. */
async function moveUnderLoad(service: string, mode: string, count: number, options: DemoOptions): Promise<ModeRun> {
  options.say(`\n${mode}: asking ${service} ${options.rate} times a second\n`);
  const load = new Load({
    service,
    rate: options.rate,
    seconds: LONGEST_RUN_SECONDS,
    hiccups: true,
    ...patience(options),
  });
  const migrations: MigrationFigures[] = [];
  let failed: string | undefined;
  try {
    await sleep(BEFORE_SECONDS * 1000);
    let at = (await sandboxes()).find(({ name }) => name === SANDBOX)?.vm ?? 'vm1';
    for (let round = 0; round < count; round++) {
      const moved = await migrate(mode, at, options);
      load.mark(MIGRATION, moved);
      migrations.push(moved);
      at = moved.to;
      await sleep(BETWEEN_SECONDS * 1000);
    }
  } catch (thrown) {
    failed = messageOf(thrown);
    options.say(`${failed}\n`);
  }
  return { mode, migrations, client: await load.end(), failed };
}

async function compare(service: string, options: DemoOptions): Promise<DemoReport> {
  const { offered, missing } = await offeredModes();
  const wanted = options.mode ?? offered[0];
  if (wanted === undefined || !offered.includes(wanted)) {
    const why = wanted === undefined ? 'no mode is possible' : (missing[wanted] ?? 'there is no such mode');
    throw new ComicranError('migration.refused', `the server cannot be moved by ${wanted ?? 'anything'}: ${why}`);
  }
  const main = await moveUnderLoad(service, wanted, options.migrations, options);
  const others: ModeRun[] = [];
  if (options.compared > 0) {
    for (const mode of offered.filter((each) => each !== wanted)) {
      others.push(await moveUnderLoad(service, mode, options.compared, options));
    }
  }
  return { main, others, missing, control: await runControl(service, main.client, options) };
}

/** As long as the main run, up to a limit: on a machine that is short of time that one can take minutes. */
async function runControl(service: string, main: ClientFigures, options: DemoOptions): Promise<ClientFigures> {
  const { rate, say } = options;
  const seconds = Math.min(main.sent / rate, LONGEST_CONTROL_SECONDS);
  say(`\nthe control: the same for ${seconds.toFixed(1)} s without a migration\n`);
  return await new Load({ service, rate, seconds, hiccups: true, ...patience(options) }).finished();
}

/** @returns the report. @throws ComicranError when a step fails; what the demonstration made is taken down first. */
export async function runDemo(options: DemoOptions): Promise<DemoReport> {
  const cleanup = new Cleanup();
  try {
    const wasUp = await labIsUp();
    options.say(wasUp ? 'using the lab that is up\n' : 'bringing the lab up\n');
    if (!wasUp && !options.keep) cleanup.defer('lab down', async () => void (await runComicran(['lab', 'down'])));
    await runComicran(['lab', 'up', ...(options.vms === undefined ? [] : [`--vms=${options.vms}`])], {
      onProgress: options.say,
    });
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
    await runComicran(['smanager', 'start', full, '--on', 'vm1', '--wait', `${START_SECONDS}`]);
    const service = (await sandboxes()).find(({ name }) => name === SANDBOX)?.service;
    if (service === undefined || service === null)
      throw new ComicranError('lab.state', `'${SANDBOX}' has no service at the sdn`);
    return await compare(service, options);
  } finally {
    for (const failure of await cleanup.run()) options.say(`clean-up: ${describeError(failure)}\n`);
  }
}
