/** How the lab is. */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { formatTable } from '../base/table.ts';
import { isAlive } from '../linux/process-identity.ts';
import type { Census, CensusData } from './census-thread.ts';
import { isListening } from './daemons.ts';
import type { LabLayout } from './layout.ts';
import { missingInNetwork, presentNamespaces } from './network.ts';
import { readRecord } from './record.ts';

export type DaemonStatus = {
  readonly program: string;
  /** `starting`: its process runs and does not listen yet; a virtual machine's: it does not answer. */
  readonly state: 'running' | 'starting' | 'ended';
  readonly pid: number | null;
  readonly endpoint: string;
  readonly log: string;
};

export type NodeStatus = {
  readonly name: string;
  /** Null: it is a virtual machine. */
  readonly netns: string | null;
  /** Whether its network namespace is there, or its QEMU. */
  readonly present: boolean;
  /** Of a virtual machine. */
  readonly machine?: { readonly accelerator: string; readonly pid: number | null; readonly console: string };
  readonly addresses: readonly string[];
  readonly daemon: DaemonStatus | null;
  /** How many sandboxes the node's daemon has; null where there is none that says. */
  readonly sandboxes: number | null;
};

export type LabStatus = {
  /** Every node is whole and every daemon listens. */
  readonly up: boolean;
  readonly nodes: readonly NodeStatus[];
  /** For smanager: COMICRAN_CONFIG. Null while there is no lab. */
  readonly config: string | null;
  /** What of the network is missing. */
  readonly missing: readonly string[];
};

/** Asks the daemons, in a thread: it has to be in the hub's namespace, and this one shall stay where it is. */
async function askDaemons(layout: LabLayout): Promise<Census> {
  const { hub: netns, pki, vms, sdnEndpoint } = layout;
  const data: CensusData = { netns, pki, vms, sdnEndpoint };
  const worker = new Worker(new URL(`./census-thread${extname(import.meta.filename)}`, import.meta.url), {
    workerData: data,
  });
  try {
    const [census] = (await once(worker, 'message')) as [Census];
    return census;
  } finally {
    await worker.terminate();
  }
}

export async function labStatus(layout: LabLayout): Promise<LabStatus> {
  const record = readRecord(layout);
  const present = presentNamespaces(layout);
  const missing = missingInNetwork(layout);
  const daemonOf = (node: string): DaemonStatus | null => {
    const daemon = layout.daemons.find((one) => one.node === node);
    if (daemon === undefined) return null;
    const identity = record?.daemons[node];
    const alive = identity !== undefined && isAlive(identity);
    return {
      program: daemon.program,
      state: !alive ? 'ended' : isListening(daemon, identity) ? 'running' : 'starting',
      pid: alive ? identity.pid : null,
      endpoint: `${daemon.endpoint.address}:${daemon.endpoint.port}`,
      log: daemon.log,
    };
  };
  const daemons = new Map(layout.nodes.map(({ name }) => [name, daemonOf(name)]));
  const machinePids = layout.machines.map(({ name }) => {
    const identity = record?.daemons[name];
    return identity !== undefined && isAlive(identity) ? identity.pid : null;
  });
  const anyRuns =
    machinePids.some((pid) => pid !== null) || [...daemons.values()].some((daemon) => daemon?.state === 'running');
  const census = anyRuns && missing.length === 0 ? await askDaemons(layout) : { sandboxes: {}, sdnAnswers: false };
  const namespaces = layout.nodes.map(
    ({ name, netns, addresses }): NodeStatus => ({
      ...{ name, netns, present: present.includes(netns), addresses },
      daemon: daemons.get(name) ?? null,
      sandboxes: census.sandboxes[name] ?? null,
    }),
  );
  const machines = layout.machines.map(({ name, ports, program, endpoint, log }, index): NodeStatus => {
    const pid = machinePids[index] ?? null;
    const sandboxes = census.sandboxes[name] ?? null;
    const answers = program === 'sdn' ? census.sdnAnswers : sandboxes !== null;
    const state = pid === null ? 'ended' : answers ? 'running' : 'starting';
    return {
      ...{ name, netns: null, present: pid !== null, addresses: ports.map(({ address }) => address), sandboxes },
      machine: { accelerator: record?.machines?.accelerator ?? '-', pid, console: log },
      // The daemon's PID is one of the machine's own.
      daemon: { program, state, pid: null, endpoint: `${endpoint.address}:${endpoint.port}`, log },
    };
  });
  const nodes = [...namespaces, ...machines];
  const up =
    record !== undefined &&
    missing.length === 0 &&
    nodes.every(({ daemon }) => daemon === null || daemon.state === 'running');
  return { up, nodes, config: existsSync(layout.managerFile) ? layout.managerFile : null, missing };
}

/** Which namespace a node is, or which kind of machine. */
function placeOfNode({ netns, present, machine }: NodeStatus): string {
  if (netns !== null) return present ? netns : `(no ${netns})`;
  return present ? `QEMU ${machine?.accelerator}, PID ${machine?.pid}` : '(no QEMU)';
}

export function renderStatus(status: LabStatus): string {
  const table = formatTable<NodeStatus>(
    [
      { title: 'node', cell: ({ name }) => name },
      { title: 'namespace', cell: placeOfNode },
      { title: 'addresses', cell: ({ addresses }) => addresses.join(' ') },
      { title: 'daemon', cell: ({ daemon }) => (daemon === null ? '-' : `${daemon.program} ${daemon.state}`) },
      { title: 'endpoint', cell: ({ daemon }) => daemon?.endpoint ?? '-' },
      { title: 'sandboxes', cell: ({ sandboxes }) => String(sandboxes ?? '-'), align: 'right' },
    ],
    status.nodes,
  );
  const nothing = status.config === null && status.nodes.every(({ present }) => !present);
  const verdict = status.up
    ? 'the lab is up'
    : nothing
      ? "there is no lab; 'comicran lab up' makes one"
      : "the lab is not whole; 'comicran lab up' heals it";
  return `${table}\n${verdict}\n`;
}
