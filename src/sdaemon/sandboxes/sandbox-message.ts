import { create } from '@bufbuild/protobuf';
import {
  type MigrationUnderWay,
  type Port,
  PortSchema,
  type Sandbox,
  SandboxSchema,
} from '../../api/gen/comicran_pb.ts';
import type { PortSpec } from '../../base/sandbox-config.ts';
import type { Entry } from './entry.ts';

export function portMessages(ports: readonly PortSpec[]): Port[] {
  return ports.map(({ port, protocol, publish = 0, service = 0 }) =>
    create(PortSchema, { port, protocol, publish, service }),
  );
}

/** What of a sandbox's life jailor knows and the entry does not. */
function stateOf(entry: Entry): string {
  if (entry.state !== 'running') return entry.state;
  const { phase, frozen } = entry.jail.state();
  return phase === 'restarting' ? 'restarting' : frozen ? 'frozen' : 'running';
}

/** A sandbox as the RPC tells it. @param underWay of a migration away from here. */
export function sandboxMessage(id: string, entry: Entry, underWay?: MigrationUnderWay): Sandbox {
  const { address, ports } = entry.config.network;
  const known = entry.state === 'stopped' ? entry.last : 'jail' in entry ? entry.jail?.state() : undefined;
  const isRestarting = known?.phase === 'restarting';
  const exit = entry.state === 'stopped' ? entry.exit : isRestarting ? known.restarts.last : undefined;
  const health = known?.health;
  return create(SandboxSchema, {
    name: id,
    state: stateOf(entry),
    address,
    ports: portMessages(ports),
    rootPid: entry.state === 'stopped' ? 0 : (known?.process?.pid ?? 0),
    innerPid: entry.state === 'stopped' ? 0 : (known?.process?.innerPid ?? 0),
    startedUnixMs: BigInt(Math.round(known?.startedAtMs ?? 0)),
    epoch: 'epoch' in entry ? entry.epoch : 0n,
    exitReason: exit?.reason ?? '',
    restarts: known?.restarts?.count ?? 0,
    gaveUp: known?.restarts?.gaveUp ?? false,
    health: health?.status ?? '',
    healthProblem: health?.problem ?? '',
    nextStartUnixMs: BigInt(Math.round(known?.restarts?.nextAtMs ?? 0)),
    guests: known?.guests ?? 0,
    ...(underWay === undefined ? {} : { underWay }),
    ...(exit?.code == null ? {} : { exitCode: exit.code }),
    ...(exit?.signal == null ? {} : { exitSignal: exit.signal }),
  });
}
