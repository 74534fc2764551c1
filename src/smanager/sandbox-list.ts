import type { Location, Sandbox, Service } from '../api/gen/comicran_pb.ts';

/** A line of `smanager ps`, and with these names an element of `smanager ps --json`. */
export type SandboxRow = {
  readonly name: string;
  readonly vm: string;
  /** creating, running, frozen, restarting, migrating, stopped; `unreachable`: its machine's daemon does not answer; `lost`: the record names a machine that does not know it. */
  readonly state: string;
  readonly address: string;
  /** `IP:PORT` that a UE uses, on the SDN node; null: no service. */
  readonly service: string | null;
  readonly services: readonly string[];
  /** Of its process on its machine: another one after each move. */
  readonly pid: number | null;
  /** Of its process as the sandbox sees it: moves along. */
  readonly pidInside: number | null;
  readonly epoch: number;
  /** When it was started, on whichever machine that was. */
  readonly startedUnixMs: number | null;
  /** How it ended, where it has: `exit 3`, `SIGKILL`, `how is not known`. */
  readonly ended: string | null;
  /** ended, out-of-memory, terminated, unhealthy, jailor-lost; null: it has not ended. */
  readonly exitReason: string | null;
  /** How often it was started again. */
  readonly restarts: number;
  /** Its restart policy has given it up. */
  readonly gaveUp: boolean;
  /** starting, healthy, unhealthy; null: nobody looks. */
  readonly health: string | null;
  readonly exitCode: number | null;
  readonly exitSignal: string | null;
  /** The machine that it is being moved to. */
  readonly movingTo: string | null;
  /** How far that has got, as its source says; null: it is not being moved, or its source has not said. */
  readonly migration: MigrationRow | null;
};

export type MigrationRow = {
  readonly mode: string;
  readonly phase: string;
  readonly sinceUs: number;
  /** Datagrams; null where there is no copy that could be behind. */
  readonly inputsBehind: number | null;
  readonly outputsBehind: number | null;
};

/** What one machine said; undefined: it did not answer. */
export type VmAnswer = { readonly vm: string; readonly sandboxes: readonly Sandbox[] | undefined };

/** Those that an exit code or a signal does not tell. */
const SHOWN_REASONS: Readonly<Record<string, string>> = { 'out-of-memory': 'out of memory', unhealthy: 'unhealthy' };

function howEnded(sandbox: Sandbox | undefined): string | null {
  if (sandbox === undefined) return null;
  const { exitSignal, exitCode, exitReason, state } = sandbox;
  const how = exitSignal ?? (exitCode === undefined ? undefined : `exit ${exitCode}`);
  const why = SHOWN_REASONS[exitReason];
  if (how !== undefined) return why === undefined ? how : `${how}, ${why}`;
  return state === 'stopped' ? (why ?? 'how is not known') : null;
}

function migrationRow(sandbox: Sandbox | undefined): MigrationRow | null {
  const underWay = sandbox?.underWay;
  if (underWay === undefined) return null;
  const { mode, phase, atUs, lag } = underWay;
  const behind = (count: bigint | undefined): number | null => (count === undefined ? null : Number(count));
  return {
    ...{ mode, phase, sinceUs: Number(atUs) },
    ...{ inputsBehind: behind(lag?.inputs), outputsBehind: behind(lag?.outputs) },
  };
}

/**
 * One row a sandbox, from the sdn's record of who owns it and from what the machines say they have.
 *
 * The record decides where a sandbox is: a copy that arrives, or a source that has not been taken down yet, is not
 * another sandbox. What a machine has and the record does not know (it has ended) is listed after these.
 */
export function mergeSandboxes(
  locations: readonly Location[],
  services: readonly Service[],
  answers: readonly VmAnswer[],
): SandboxRow[] {
  const row = (name: string, vm: string, sandbox: Sandbox | undefined, location: Location | undefined): SandboxRow => {
    const reachable = answers.find((answer) => answer.vm === vm)?.sandboxes !== undefined;
    const own = services.filter((service) => service.sandbox === name);
    const arriving = answers.find(
      (answer) => answer.vm !== vm && answer.sandboxes?.some((s) => s.name === name && s.state === 'arriving'),
    );
    return {
      name,
      vm,
      state: sandbox?.state ?? (reachable ? 'lost' : 'unreachable'),
      address: location?.address ?? sandbox?.address ?? '',
      service: own[0] === undefined ? null : `${own[0].address}:${own[0].port}`,
      services: own.map((service) => `${service.address}:${service.port}/${service.protocol}`),
      pid: sandbox?.rootPid || null,
      pidInside: sandbox?.innerPid || null,
      epoch: Number(location?.epoch ?? sandbox?.epoch ?? 0n),
      startedUnixMs: Number(sandbox?.startedUnixMs ?? 0n) || null,
      ended: howEnded(sandbox),
      exitReason: sandbox?.exitReason || null,
      restarts: sandbox?.restarts ?? 0,
      gaveUp: sandbox?.gaveUp ?? false,
      health: sandbox?.health || null,
      exitCode: sandbox?.exitCode ?? null,
      exitSignal: sandbox?.exitSignal ?? null,
      movingTo: arriving?.vm ?? sandbox?.underWay?.toVm ?? null,
      migration: migrationRow(sandbox),
    };
  };
  const owned = locations.map((location) => {
    const answer = answers.find(({ vm }) => vm === location.vm);
    const sandbox = answer?.sandboxes?.find(({ name }) => name === location.sandbox);
    return row(location.sandbox, location.vm, sandbox, location);
  });
  const known = new Set(locations.map((location) => location.sandbox));
  const others = answers.flatMap(({ vm, sandboxes }) =>
    (sandboxes ?? [])
      .filter(({ name }) => !known.has(name))
      .map((sandbox) => row(sandbox.name, vm, sandbox, undefined)),
  );
  return [...owned, ...others].toSorted((a, b) => a.name.localeCompare(b.name) || a.vm.localeCompare(b.vm));
}
