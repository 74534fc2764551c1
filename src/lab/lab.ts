/** Bringing the lab up and taking it down. Both may be called in any state, also one that a crash has left. */
import { existsSync, rmSync } from 'node:fs';
import { ComicranError, describeError, messageOf } from '../base/errors.ts';
import { isAlive, type ProcessIdentity } from '../linux/process-identity.ts';
import { nameOf, startDaemon, waitUntilReady } from './daemons.ts';
import { runComicran } from './demo/program.ts';
import { prepareDirectories, recordedProcesses, removeDirectories } from './directories.ts';
import type { LabDaemon, LabLayout } from './layout.ts';
import { withLabLock } from './lock.ts';
import { prepareMachines, startMachine, stopMachine, waitUntilMachineReady } from './machines.ts';
import { buildNetwork, missingInNetwork, presentNamespaces, removeNetwork } from './network.ts';
import { commandOf, endProcesses, processesInNamespaces, waitUntilGone } from './processes.ts';
import {
  type LabRecord,
  type MachineSettings,
  patienceOf,
  readRecord,
  removeRecord,
  writeManagerConfig,
  writeRecord,
} from './record.ts';

/** How long a jailor may take to end its sandbox in order. */
const GRACE_MS = 4000;
const DAEMON_GRACE_MS = 2000;

export type Say = (text: string) => void;

const lockName = (layout: LabLayout): string => `comicran-lab-${layout.hub}`;

/** Whether there is anything of the lab. */
function isThereAnything(layout: LabLayout): boolean {
  return (
    [layout.recordFile, layout.managerFile, layout.directory].some(existsSync) || presentNamespaces(layout).length > 0
  );
}

/**
 * Makes the lab, or heals it: a network that is not whole is built again with everything in it, a daemon that has ended is
 * started again, and what runs stays as it is.
 *
 * Holds afterwards: every node is there and every daemon listens. When it fails, what it has made stays (the log of a
 * daemon that did not start is worth reading) until `up` is called again or `down`.
 *
 * @param choose asked where a lab with real virtual machines is made anew. One that is healed keeps what was chosen.
 * @throws ComicranError lab.state
 */
export async function labUp(layout: LabLayout, say: Say, choose?: () => Promise<MachineSettings>): Promise<void> {
  await withLabLock(lockName(layout), async () => {
    const missing = missingInNetwork(layout);
    let record = readRecord(layout);
    if (record === undefined || missing.length > 0) {
      if (isThereAnything(layout)) {
        say(`building the lab again: ${record === undefined ? 'its record is missing' : missing.join(', ')}\n`);
        await takeDown(layout, say);
      }
      // Before the first object is made, so that nobody finds objects without knowing whose they are.
      const machines = layout.machines.length === 0 ? undefined : (record?.machines ?? (await choose?.()));
      record = { version: 1, startedUnixMs: Date.now(), ...(machines && { machines }), daemons: {} };
      writeRecord(layout, record);
      say(`making ${layout.nodes.map(({ netns }) => netns).join(', ')}\n`);
      buildNetwork(layout);
    }
    await prepareDirectories(layout);
    if (record.machines !== undefined) await prepareMachines(layout, record.machines, say);
    record = await startDaemons(layout, record, say);
    await startMachines(layout, record, say);
    writeManagerConfig(layout, patienceOf(record.machines));
  });
}

/** The sdn first: the machines' daemons talk to it when they start. */
async function startDaemons(layout: LabLayout, before: LabRecord, say: Say): Promise<LabRecord> {
  const isSdn = ({ program }: LabDaemon): boolean => program === 'sdn';
  let record = before;
  for (const stage of [layout.daemons.filter(isSdn), layout.daemons.filter((daemon) => !isSdn(daemon))]) {
    const started: [LabDaemon, ProcessIdentity][] = [];
    for (const daemon of stage) {
      let identity = record.daemons[daemon.node];
      if (identity === undefined || !isAlive(identity)) {
        say(`${identity === undefined ? 'starting' : 'starting again'} the ${nameOf(daemon)}\n`);
        // The one before it may be in the middle of its end, and hold the port.
        if (identity !== undefined) await waitUntilGone([identity], DAEMON_GRACE_MS);
        identity = await startDaemon(layout, daemon);
        record = { ...record, daemons: { ...record.daemons, [daemon.node]: identity } };
        writeRecord(layout, record);
      }
      started.push([daemon, identity]);
    }
    await Promise.all(started.map(([daemon, identity]) => waitUntilReady(daemon, identity)));
  }
  return record;
}

/** A machine that is there stays as it is, also one whose daemon has ended: that one is the machine's own to start again. */
async function startMachines(layout: LabLayout, before: LabRecord, say: Say): Promise<void> {
  const { machines: settings } = before;
  if (settings === undefined) return;
  let record = before;
  const starting = layout.machines.filter(({ name }) => {
    const identity = before.daemons[name];
    return identity === undefined || !isAlive(identity);
  });
  if (starting.length === 0) return;
  say(`booting ${starting.map(({ name }) => name).join(', ')} (${settings.accelerator}, ${settings.memoryMib} MiB)\n`);
  const started = starting.map(async (machine) => {
    const one = await startMachine(layout, machine, settings);
    record = { ...record, daemons: { ...record.daemons, [machine.name]: one.identity } };
    writeRecord(layout, record);
    await waitUntilMachineReady(machine, one);
  });
  // All of them, before the first failure is told: no machine is left that nobody has recorded.
  const failed = (await Promise.allSettled(started)).find(({ status }) => status === 'rejected');
  if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
}

async function stopMachines(layout: LabLayout): Promise<void> {
  const daemons = readRecord(layout)?.daemons ?? {};
  await Promise.all(
    layout.machines.map(async (machine) => {
      const identity = daemons[machine.name];
      if (identity !== undefined) await stopMachine(machine, identity);
      for (const socket of [machine.monitor, machine.console]) rmSync(socket, { force: true });
    }),
  );
}

/**
 * Takes away everything of the lab, however it came to be: daemons, sandboxes, namespaces with every process in them,
 * certificates, logs, records. Without a lab it does nothing.
 *
 * @returns whether there was anything. @throws ComicranError lab.state naming what could not be taken away.
 */
export async function labDown(layout: LabLayout, say: Say): Promise<boolean> {
  return await withLabLock(lockName(layout), async () => {
    if (!isThereAnything(layout)) return false;
    await takeDown(layout, say);
    return true;
  });
}

async function end(processes: readonly ProcessIdentity[], graceMs: number): Promise<void> {
  const left = await endProcesses(processes, graceMs);
  if (left.length === 0) return;
  const names = left.map(({ pid }) => `${pid} (${commandOf(pid).slice(0, 3).join(' ')})`);
  throw new Error(`these processes do not end: ${names.join(', ')}`);
}

/** What jailors that were killed have left: cgroups with processes in them. */
async function cleanSandboxes(layout: LabLayout): Promise<void> {
  for (const state of layout.sandboxStates.filter((directory) => existsSync(directory))) {
    await runComicran(['jailor', 'clean', '--state', state]);
  }
}

async function takeDown(layout: LabLayout, say: Say): Promise<void> {
  const failures: unknown[] = [];
  // A step that fails does not keep the others from being taken.
  const step = async (work: () => void | Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (thrown) {
      failures.push(thrown);
    }
  };
  const namespaces = layout.nodes.map(({ netns }) => netns);
  const machines = layout.machines.length === 0 ? '' : 'virtual machines, ';
  say(`ending the ${machines}daemons and sandboxes\n`);
  await step(() => stopMachines(layout));
  // Daemons first, so that nobody starts anything while the rest is being ended; then jailors, which take their sandboxes
  // down, with whatever else runs in the nodes.
  await step(() => end(Object.values(readRecord(layout)?.daemons ?? {}).filter(isAlive), DAEMON_GRACE_MS));
  await step(async () => {
    const { jailors, inside } = recordedProcesses(layout);
    await end([...processesInNamespaces(namespaces), ...jailors], GRACE_MS);
    // What a jailor that had to be killed has left, before its state file is removed.
    await end(inside, 0);
  });
  await step(() => cleanSandboxes(layout));
  say(`removing ${namespaces.join(', ')}\n`);
  await step(() => removeNetwork(layout));
  if (failures.length === 0) await step(() => removeDirectories(layout));
  if (failures.length === 0) removeRecord(layout);
  else {
    throw new ComicranError('lab.state', `not everything of the lab could be taken away: ${messageOf(failures[0])}`, {
      cause: failures[0],
      hint: `Call 'comicran lab down' again.${failures
        .slice(1)
        .map((failure) => ` Also: ${describeError(failure)}`)
        .join('')}`,
    });
  }
}
