/** The lab's virtual machines: starting, knowing how they are, stopping. */
import { existsSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ComicranError } from '../base/errors.ts';
import { parseFullConfig } from '../base/full-config.ts';
import { isAlive, type ProcessIdentity } from '../linux/process-identity.ts';
import { debianPackages } from '../vm/debian-packages.ts';
import { makeDisk } from '../vm/disk.ts';
import { guestRoot } from '../vm/guest-root.ts';
import { writeInitramfs, writeOwnInitramfs } from '../vm/initramfs.ts';
import { Monitor } from '../vm/monitor.ts';
import { QEMU, qemuWords } from '../vm/qemu-command.ts';
import { logTail, startInNode } from './daemons.ts';
import type { LabLayout, LabMachine } from './layout.ts';
import { endProcesses } from './processes.ts';
import { type MachineSettings, patienceOf } from './record.ts';

/** Where what has been fetched stays for the next time. */
export const VM_CACHE = '/var/cache/comicran';

/** What the machine says on its console (share/vm/tell-when-ready). */
const READY = 'comicran vm: ready ';
const POLL_MS = 100;
/** By emulation on a machine that has other things to do. */
const READY_MS = 240_000;
const POWER_DOWN_MS = 10_000;
const QUIT_MS = 2000;
/** Not to hold up the kernel's console, which emulation makes slow. */
const KERNEL_WORDS = ['quiet', 'loglevel=4'];

type Say = (text: string) => void;

/** Writes what the machines begin with, unless that is there. */
export async function prepareMachines(layout: LabLayout, { sandboxes }: MachineSettings, say: Say): Promise<void> {
  if (existsSync(layout.initramfs)) return;
  const packages = await debianPackages(VM_CACHE, say);
  say('resolving what the virtual machines need\n');
  const root = await guestRoot(packages);
  const configs = sandboxes.map((file) => parseFullConfig(readFileSync(file, 'utf8'), file));
  const partial = `${layout.initramfs}.next`;
  writeInitramfs(partial, root, configs);
  renameSync(partial, layout.initramfs);
}

function settingsOf<T>(values: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(values, name) ? values[name] : undefined;
}

/** A machine that has been started, and where its console's log stood before. */
export type StartedMachine = { readonly identity: ProcessIdentity; readonly logStart: number };

const sizeOf = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0;

/** A fault that is asked for counts for the daemons of virtual machines as for those of namespaces, which inherit it. */
function daemonVariables(settings: MachineSettings): Record<string, string> {
  const { COMICRAN_FAULT } = process.env;
  const fault = COMICRAN_FAULT === undefined ? {} : { COMICRAN_FAULT };
  return { COMICRAN_PATIENCE: `${patienceOf(settings)}`, ...fault };
}

/** @returns at once: {@link waitUntilMachineReady} tells when its daemon takes commands. */
export async function startMachine(
  layout: LabLayout,
  machine: LabMachine,
  settings: MachineSettings,
): Promise<StartedMachine> {
  const { name, ports, gateway, program, environment, endpoint } = machine;
  const { kernel } = await debianPackages(VM_CACHE, () => undefined);
  writeOwnInitramfs(machine.initramfs, layout.initramfs, {
    ...{ name, links: ports, gateway, program, port: endpoint.port, pki: layout.pki },
    environment: { ...environment, ...(program === 'sdaemon' ? daemonVariables(settings) : {}) },
  });
  if (!existsSync(machine.disk)) await makeDisk(machine.disk);
  for (const socket of [machine.monitor, machine.console]) rmSync(socket, { force: true });
  const words = qemuWords(
    {
      ...{ name, kernel, initramfs: machine.initramfs, kernelWords: KERNEL_WORDS },
      memoryMib: settings.memoryMib,
      cpu: settingsOf(settings.cpus, name),
      accelerator: settings.accelerator,
      links: ports.map(({ near, mac }) => ({ tap: near.link, mac })),
      disk: machine.disk,
      monitor: machine.monitor,
      console: { log: machine.log, socket: machine.console },
      clockAheadSeconds: settingsOf(settings.clocksAhead, name) ?? 0,
    },
    Date.now(),
  );
  const logStart = sizeOf(machine.log);
  const identity = await startInNode(layout.hub, [QEMU, ...words], machine.emulatorLog);
  if (identity === undefined) throw failed(machine, 'QEMU ended at once');
  return { identity, logStart };
}

function failed(machine: LabMachine, how: string): ComicranError {
  const said = [machine.emulatorLog, machine.log]
    .map((file): [string, string] => [file, logTail(file)])
    .filter(([, tail]) => tail !== '')
    .map(([file, tail]) => `The end of ${file}:\n${tail.replace(/^/gm, '    ')}`);
  return new ComicranError('lab.state', `the virtual machine ${machine.name} did not start: ${how}`, {
    hint: said.length === 0 ? 'It has said nothing.' : said.join('\n'),
  });
}

/** @throws ComicranError lab.state with the end of its console, where it ends or is not ready in time. */
export async function waitUntilMachineReady(machine: LabMachine, started: StartedMachine): Promise<void> {
  const deadline = performance.now() + READY_MS;
  for (;;) {
    // By bytes: what an earlier machine of this name has said does not count.
    const said = sizeOf(machine.log) > 0 ? readFileSync(machine.log).subarray(started.logStart).toString() : '';
    if (said.includes(READY)) return;
    if (!isAlive(started.identity)) throw failed(machine, 'QEMU ended');
    if (performance.now() > deadline) throw failed(machine, `its daemon is not there after ${READY_MS / 1000} s`);
    await sleep(POLL_MS);
  }
}

async function untilEnded(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (isAlive(identity)) {
    if (performance.now() > deadline) return false;
    await sleep(POLL_MS);
  }
  return true;
}

/** Presses the power button; where that leads to nothing, pulls the plug. @throws Error naming what does not end. */
export async function stopMachine(machine: LabMachine, identity: ProcessIdentity): Promise<void> {
  if (isAlive(identity)) {
    try {
      using monitor = await Monitor.connect(machine.monitor);
      await monitor.execute('system_powerdown');
      if (await untilEnded(identity, POWER_DOWN_MS)) return;
      await monitor.execute('quit');
    } catch (thrown) {
      // It has ended meanwhile, or its monitor is as dead as it: what follows needs nobody's answer.
      if (!(thrown instanceof ComicranError)) throw thrown;
    }
  }
  const left = await endProcesses([identity], QUIT_MS);
  if (left.length > 0) throw new Error(`the virtual machine ${machine.name} does not end (PID ${identity.pid})`);
}
