/** Two virtual machines, and what can happen to them. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Load } from '../../src/lab/demo/load.ts';
import { parseJsonOutput, runComicran } from '../../src/lab/demo/program.ts';
import type { LabMachine } from '../../src/lab/layout.ts';
import { presentLayout } from '../../src/lab/record.ts';
import { Monitor } from '../../src/vm/monitor.ts';
import { daemonPid } from '../support/daemons.ts';
import { EXAMPLES, find, type Migrated } from '../support/lab.ts';

/** For {@link needs}. */
export const NEEDED = ['root', 'qemu-system-x86_64', '/usr/sbin/mkfs.ext4', 'apt-get'] as const;

/** By emulation an answer takes some milliseconds of a CPU that others want too. */
export const RATE = 20;
const LONGEST_SECONDS = 600;
/** For second answers, when none is missing any more. */
const GRACE_SECONDS = 3;
/** For those that are missing: how slow an emulated machine is says nothing about whether they come. */
const PATIENCE_SECONDS = 120;

export async function startSquare(vm: string): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-vms-'));
  try {
    const full = join(directory, 'square.full.yaml');
    await runComicran(['configer', join(EXAMPLES, 'square.yaml'), '-o', full]);
    await runComicran(['smanager', 'start', full, '--on', vm, '--wait', '120']);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export function machine(name: string): LabMachine {
  const found = presentLayout().machines.find((one) => one.name === name);
  assert.ok(found, `the lab has no virtual machine ${name}`);
  return found;
}

/** Pulls the plug. */
export function kill(name: string): void {
  process.kill(daemonPid(name), 'SIGKILL');
}

/** The machine stands still, and does not know it. */
export async function paused(name: string, milliseconds: number): Promise<void> {
  using monitor = await Monitor.connect(machine(name).monitor);
  await monitor.execute('stop');
  await pause(milliseconds);
  await monitor.execute('cont');
}

/** Nothing passes the link to the machine. */
export async function cutOff(name: string, milliseconds: number): Promise<void> {
  const link = machine(name).ports[0]!.near.link;
  const set = (state: string): void => void execFileSync('ip', ['-n', presentLayout().hub, 'link', 'set', link, state]);
  set('down');
  await pause(milliseconds);
  set('up');
}

export async function whereIs(name: string): Promise<string | undefined> {
  return (await find(name))?.vm;
}

export type Attempt = { readonly moved: Migrated | undefined; readonly why: string };

/** @param at once, when the progress names this phase; what it does is waited for. */
export async function migrateWith(
  name: string,
  mode: string,
  at?: { readonly phase: string; readonly act: () => void | Promise<void> },
): Promise<Attempt> {
  const to = (await whereIs(name)) === 'vm1' ? 'vm2' : 'vm1';
  let told = '';
  let done: Promise<void> | undefined;
  const onProgress = (text: string): void => {
    told += text;
    if (at !== undefined && done === undefined && told.includes(at.phase)) done = Promise.resolve(at.act());
  };
  const words = ['smanager', 'migrate', name, to, '--mode', mode, '--json'];
  if (mode === 'replicated') words.push('--fallback', 'none');
  try {
    const moved = parseJsonOutput(await runComicran(words, { onProgress })) as Migrated;
    return { moved, why: '' };
  } catch (thrown) {
    return { moved: undefined, why: String(thrown) };
  } finally {
    if (at !== undefined) assert.ok(done !== undefined, `it did not get to '${at.phase}': ${told}`);
    await done;
  }
}

export type Lost = { readonly lost: number; readonly duplicated: number; readonly wrong: number };

/** What the client counts while `use` goes on. */
export async function askedDuring(name: string, use: () => Promise<void>): Promise<Lost> {
  const service = (await find(name))?.service;
  assert.ok(service, `'${name}' has no service`);
  const waits = { graceSeconds: GRACE_SECONDS, patienceSeconds: PATIENCE_SECONDS };
  const load = new Load({ service, rate: RATE, seconds: LONGEST_SECONDS, ...waits });
  try {
    await pause(1000);
    await use();
    await pause(1000);
  } catch (thrown) {
    await load.end().catch(() => undefined);
    throw thrown;
  }
  const { lost, duplicated, wrong } = await load.end();
  return { lost, duplicated, wrong };
}

export const NOTHING: Lost = { lost: 0, duplicated: 0, wrong: 0 };
