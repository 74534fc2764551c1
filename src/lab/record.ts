/** What `lab up` has made, so that later commands find it. Written before the first object is made. */
import { mkdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { ProcessIdentity } from '../linux/process-identity.ts';
import type { Accelerator } from '../vm/qemu-command.ts';
import { type LabLayout, type LabPlace, labLayout, type MachineCount, placeOf } from './layout.ts';

/** How the virtual machines are made: decided when the lab is, and the same when one of them is started again. */
export type MachineSettings = {
  /** Which nodes are virtual machines; absent: vm1 and vm2. */
  readonly count?: MachineCount;
  readonly accelerator: Accelerator;
  /** CPU model by the machine's name; one without has all that the accelerator can do. */
  readonly cpus: Readonly<Record<string, string>>;
  readonly memoryMib: number;
  /** Seconds by the machine's name that its clock is ahead. */
  readonly clocksAhead: Readonly<Record<string, number>>;
  /** Full configurations (files of this machine) whose files the virtual machines are to have as well. */
  readonly sandboxes: readonly string[];
};

/** By emulation a machine takes some twenty times as long, and shares CPUs with the others. */
const PATIENCE = { kvm: 1, tcg: 8 } as const;

/** How many times as long as usual a lab's daemons are given. */
export function patienceOf(machines: MachineSettings | undefined): number {
  return machines === undefined ? 1 : PATIENCE[machines.accelerator];
}

export type LabRecord = {
  readonly version: 1;
  readonly startedUnixMs: number;
  /** Absent where network namespaces stand for the virtual machines. */
  readonly machines?: MachineSettings;
  /** The daemon of each node, by the node's name, a virtual machine's QEMU; what has not been started yet is not in it. */
  readonly daemons: Readonly<Record<string, ProcessIdentity>>;
};

function isRecord(value: unknown): value is LabRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { version, daemons } = value as Partial<LabRecord>;
  if (version !== 1 || typeof daemons !== 'object' || daemons === null) return false;
  return Object.values(daemons).every(({ pid, startTicks }) => pid > 1 && startTicks >= 0);
}

/** @returns undefined where there is none, or where it is damaged: then the lab is known by its names alone. */
export function readRecord(layout: LabLayout): LabRecord | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(layout.recordFile, 'utf8'));
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The layout of the lab that is up; where there is none, of one with network namespaces. */
export function presentLayout(place: LabPlace = placeOf(process.env['COMICRAN_LAB'])): LabLayout {
  const layout = labLayout(place);
  const machines = readRecord(layout)?.machines;
  return machines === undefined ? layout : labLayout({ ...place, machines: machines.count ?? 2 });
}

function writeWhole(path: string, value: unknown): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.next`, `${JSON.stringify(value, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(`${path}.next`, path);
}

export function writeRecord(layout: LabLayout, record: LabRecord): void {
  writeWhole(layout.recordFile, record);
}

/** For smanager, which reads it when it is told nothing else. @param patience as of sdaemon's `--patience` */
export function writeManagerConfig(layout: LabLayout, patience = 1): void {
  writeWhole(layout.managerFile, {
    sdn: { endpoint: layout.sdnEndpoint },
    vms: Object.fromEntries(layout.vms.map(({ name, endpoint, address }) => [name, { endpoint, address }])),
    pki: layout.pki,
    netns: `/run/netns/${layout.hub}`,
    ...(patience === 1 ? {} : { patience }),
  });
}

/** Removes a directory if nothing is in it. */
export function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Not empty, or not there: somebody else's.
  }
}

export function removeRecord(layout: LabLayout): void {
  for (const file of [layout.managerFile, layout.recordFile]) {
    rmSync(file, { force: true });
    rmSync(`${file}.next`, { force: true });
  }
  removeIfEmpty(dirname(layout.recordFile));
}
