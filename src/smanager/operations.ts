/** What smanager does, over the connections of a {@link Fleet}; migrations have a file of their own (migrations.ts). */
import type { FileUse, LogLine, Sandbox } from '../api/gen/comicran_pb.ts';
import { ComicranError } from '../base/errors.ts';
import { parseFullConfig } from '../base/full-config.ts';
import { suggestion } from '../base/suggest.ts';
import { type Fleet, isSilent } from './fleet.ts';
import { mergeSandboxes, type SandboxRow, type VmAnswer } from './sandbox-list.ts';

/** What every machine says of its sandboxes. One that does not answer does not hold up or fail the others. */
async function askAll(fleet: Fleet): Promise<VmAnswer[]> {
  return Promise.all(
    fleet.vmNames().map(async (vm): Promise<VmAnswer> => {
      try {
        return { vm, sandboxes: (await fleet.vm(vm).list({}, fleet.look)).sandboxes };
      } catch (thrown) {
        if (isSilent(thrown)) return { vm, sandboxes: undefined };
        throw thrown;
      }
    }),
  );
}

export async function listSandboxes(fleet: Fleet): Promise<SandboxRow[]> {
  const [locations, services, answers] = await Promise.all([
    fleet.sdn().listLocations({}),
    fleet.sdn().listServices({}),
    askAll(fleet),
  ]);
  return mergeSandboxes(locations.locations, services.services, answers);
}

export type ServiceRow = {
  readonly service: string;
  readonly protocol: string;
  readonly sandbox: string;
  readonly leadsTo: string;
  readonly packets: number;
  readonly bytes: number;
};

export type LocationRow = {
  readonly sandbox: string;
  readonly address: string;
  readonly vm: string;
  readonly via: string;
  readonly epoch: number;
};

export type VmRow = {
  readonly name: string;
  readonly endpoint: string;
  readonly state: 'up' | 'unreachable';
  readonly address: string | null;
  readonly kernel: string | null;
  readonly version: string | null;
  readonly sandboxes: number | null;
};

export async function listVms(fleet: Fleet): Promise<VmRow[]> {
  return Promise.all(
    fleet.vmNames().map(async (name): Promise<VmRow> => {
      const endpoint = fleet.endpointOf(name);
      try {
        const info = await fleet.vm(name).info({}, fleet.look);
        const { address, kernel, version, sandboxes } = info;
        return { name, endpoint, state: 'up', address, kernel, version, sandboxes };
      } catch (thrown) {
        if (!isSilent(thrown)) throw thrown;
        return { name, endpoint, state: 'unreachable', address: null, kernel: null, version: null, sandboxes: null };
      }
    }),
  );
}

/** What the SDN node leads where, with how many requests have come. */
export async function listServices(fleet: Fleet): Promise<ServiceRow[]> {
  const { services } = await fleet.sdn().listServices({});
  return services.map((service) => ({
    service: `${service.address}:${service.port}`,
    protocol: service.protocol,
    sandbox: service.sandbox,
    leadsTo: `${service.sandboxAddress}:${service.sandboxPort}`,
    packets: Number(service.packets),
    bytes: Number(service.bytes),
  }));
}

/** The sdn's record of who owns which sandbox. */
export async function listLocations(fleet: Fleet): Promise<LocationRow[]> {
  const { locations } = await fleet.sdn().listLocations({});
  return locations.map(({ sandbox, address, vm, vmAddress, epoch }) => ({
    ...{ sandbox, address, vm, via: vmAddress, epoch: Number(epoch) },
  }));
}

export type ServiceChange = {
  readonly port: number;
  readonly protocol: string;
  readonly sandbox: string;
  readonly sandboxPort: number;
};

/** Leads a port of the SDN node to a sandbox. @throws ComicranError service.in-use, sandbox.unknown */
export async function setService(fleet: Fleet, service: ServiceChange): Promise<void> {
  await fleet.sdn().setService({ service });
}

export async function unsetService(fleet: Fleet, port: number, protocol: string): Promise<void> {
  await fleet.sdn().unsetService({ port, protocol });
}

async function sandboxNames(fleet: Fleet, answers: readonly VmAnswer[]): Promise<string[]> {
  const { locations } = await fleet.sdn().listLocations({});
  const here = answers.flatMap(({ sandboxes = [] }) => sandboxes.map((sandbox) => sandbox.name));
  return [...new Set([...locations.map(({ sandbox }) => sandbox), ...here])].toSorted();
}

/** The machine that owns the sandbox, or else the one that still has it (it has ended). */
export async function machineOf(fleet: Fleet, name: string): Promise<string> {
  const { location } = await fleet.sdn().locate({ sandbox: name });
  if (location !== undefined) return location.vm;
  const answers = await askAll(fleet);
  const holder = answers.find(({ sandboxes }) => sandboxes?.some((sandbox) => sandbox.name === name));
  if (holder !== undefined) return holder.vm;
  const silent = answers.filter(({ sandboxes }) => sandboxes === undefined).map(({ vm }) => vm);
  const doubt = silent.length === 0 ? '' : ` (${silent.join(', ')} did not answer)`;
  throw new ComicranError('sandbox.unknown', `no sandbox '${name}' is known on any machine${doubt}`, {
    hint: suggestion(name, await sandboxNames(fleet, answers), 'Known are'),
  });
}

/** The machine with the fewest sandboxes among those that answer; of equals the first by name. */
function leastLoaded(answers: readonly VmAnswer[]): string | undefined {
  return answers
    .flatMap(({ vm, sandboxes }) => (sandboxes === undefined ? [] : [{ vm, count: sandboxes.length }]))
    .toSorted((a, b) => a.count - b.count || a.vm.localeCompare(b.vm))[0]?.vm;
}

export type StartOptions = {
  /** The machine; absent: the one with the fewest sandboxes. */
  readonly on?: string | undefined;
  /** How long to wait until it has bound its ports; 0: it is not waited for. */
  readonly waitMs: number;
};

/** Copying files takes its time before the wait begins. */
const START_DEADLINE_MS = 60_000;

/** @param text a full configuration, YAML or JSON. */
export async function startSandbox(
  fleet: Fleet,
  text: string,
  fileName: string,
  { on, waitMs }: StartOptions,
): Promise<{ sandbox: Sandbox; vm: string; files: FileUse | undefined }> {
  const config = parseFullConfig(text, fileName);
  const vm = on ?? leastLoaded(await askAll(fleet));
  if (vm === undefined) throw new ComicranError('vm.unreachable', 'no machine answers');
  const { sandbox, files } = await fleet
    .vm(vm)
    .start({ configJson: JSON.stringify(config), waitMs }, { timeoutMs: START_DEADLINE_MS + waitMs });
  if (sandbox === undefined)
    throw new ComicranError('peer.protocol', `${vm} started '${config.id}' and said nothing of it`);
  return { sandbox, vm, files };
}

export async function terminateSandbox(
  fleet: Fleet,
  name: string,
  options: { readonly signal: number; readonly graceMs: number },
): Promise<{ vm: string; exitCode: number | null; exitSignal: string | null }> {
  const vm = await machineOf(fleet, name);
  const answer = await fleet.vm(vm).terminate({ name, ...options });
  return { vm, exitCode: answer.exitCode ?? null, exitSignal: answer.exitSignal ?? null };
}

export async function inspectSandbox(fleet: Fleet, name: string): Promise<object> {
  const vm = await machineOf(fleet, name);
  const { sandbox, configJson, stateJson } = await fleet.vm(vm).inspect({ name });
  return {
    name,
    vm,
    state: sandbox?.state,
    epoch: Number(sandbox?.epoch ?? 0n),
    exitCode: sandbox?.exitCode ?? null,
    exitSignal: sandbox?.exitSignal ?? null,
    exitReason: sandbox?.exitReason || null,
    restarts: sandbox?.restarts ?? 0,
    gaveUp: sandbox?.gaveUp ?? false,
    health: sandbox?.health || null,
    healthProblem: sandbox?.healthProblem || null,
    runtime: stateJson === '' ? null : JSON.parse(stateJson),
    config: JSON.parse(configJson),
  };
}

/**
 * What a sandbox has written, oldest first. A sandbox that has moved has left lines on each machine that it was on: they
 * are put together by time. @param follow keeps going with the machine that has it now, until `signal` is aborted.
 */
export async function* readLogs(
  fleet: Fleet,
  name: string,
  options: { readonly tail: number; readonly follow: boolean; readonly signal: AbortSignal },
): AsyncGenerator<LogLine> {
  const owner = await machineOf(fleet, name);
  const collected = await Promise.all(
    fleet.vmNames().map(async (vm) => {
      const lines: LogLine[] = [];
      try {
        for await (const line of fleet.vm(vm).logs({ name, follow: false, tail: options.tail })) lines.push(line);
      } catch (thrown) {
        const unknown = thrown instanceof ComicranError && thrown.code === 'sandbox.unknown';
        if (!unknown && !isSilent(thrown)) throw thrown;
      }
      return lines;
    }),
  );
  const lines = collected.flat().toSorted((a, b) => Number(a.unixUs - b.unixUs));
  yield* options.tail > 0 ? lines.slice(-options.tail) : lines;
  if (!options.follow) return;
  const seen = lines.at(-1)?.unixUs ?? 0n;
  const stream = fleet.vm(owner).logs({ name, follow: true, tail: 0 }, { signal: options.signal });
  for await (const line of stream) if (line.unixUs > seen) yield line;
}
