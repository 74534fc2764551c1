/**
 * What the lab is made of, as data. Four network namespaces stand for four machines; the SDN node is in the middle:
 *
 *     ue 10.70.0.2 ──── 10.70.0.1 sdn ──┬── 10.71.1.1 ── 10.71.1.2 vm1
 *                                       └── 10.71.2.1 ── 10.71.2.2 vm2
 *
 * Nothing is added to the machine's own network: who wants to talk to a node does it from inside one.
 *
 * With real virtual machines vm1 and vm2 are QEMU's: the same addresses, and TAP devices in the SDN node's namespace for
 * the links. Where the SDN node is one, too, a namespace with bridges stands for the cables between them.
 */
import { join } from 'node:path';
import { labManagerFile, labPlace, type LabPlace as Place } from '../base/lab-place.ts';
import {
  CABLES_ADDRESS,
  PREFIX_LENGTH,
  SDAEMON_PORT,
  SDN,
  sdnOf,
  UE_ADDRESS,
  VMS,
  type VmAddresses,
} from './addresses.ts';
import { BRIDGES, inBridge, sdnMachine, vmMachines } from './machine-layout.ts';

/** The executable of this checkout or installation. */
const BIN_DIRECTORY = join(import.meta.dirname, '../../bin');

export type LabNode = {
  readonly name: string;
  /** Name of its network namespace under /run/netns. */
  readonly netns: string;
  /** Whether it passes packets on. */
  readonly forwards: boolean;
  /** Its addresses, without prefix length. */
  readonly addresses: readonly string[];
};

/** An end of a link in the hub: it has an address of its own, or belongs to a bridge. */
export type HubEnd = { readonly link: string } & ({ readonly address: string } | { readonly bridge: string });

/** A link between the hub and a node, which has its default route over it. */
export type LabLink = {
  readonly node: string;
  readonly near: HubEnd;
  readonly far: { readonly link: string; readonly address: string };
  readonly gateway: string;
  readonly prefixLength: number;
};

/** A cable between virtual machines. In the hub; one of them is how that reaches the others. */
export type LabBridge = {
  readonly name: string;
  readonly own?: { readonly address: string; readonly prefixLength: number; readonly gateway: string };
};

/** An Ethernet device of a virtual machine, with its TAP device in the hub. */
export type LabPort = {
  readonly near: HubEnd;
  readonly address: string;
  readonly prefixLength: number;
  readonly mac: string;
};

/** A virtual machine: QEMU in the hub's namespace. */
export type LabMachine = {
  readonly name: string;
  /** eth0, eth1, … */
  readonly ports: readonly LabPort[];
  /** Of its default route. */
  readonly gateway?: string;
  /** Unix sockets: of its monitor, and of its serial console. */
  readonly monitor: string;
  readonly console: string;
  /** What the console has shown. */
  readonly log: string;
  /** What QEMU itself has said. */
  readonly emulatorLog: string;
  /** What its kernel begins with. */
  readonly initramfs: string;
  /** Its disk: what a machine that is booted anew still has. */
  readonly disk: string;
  /** What runs in it, and what of packaging/*.env is its own. */
  readonly program: 'sdaemon' | 'sdn';
  readonly environment: Readonly<Record<string, string>>;
  /** Where its daemon answers. */
  readonly endpoint: { readonly address: string; readonly port: number };
};

export type LabDaemon = {
  /** The node that it runs in; no node has two. */
  readonly node: string;
  /** What it is, for people: `sdaemon`. */
  readonly program: string;
  /** Executable and arguments. */
  readonly command: readonly string[];
  /** Where it answers, as seen from the SDN node. */
  readonly endpoint: { readonly address: string; readonly port: number };
  readonly log: string;
};

export type LabLayout = {
  readonly nodes: readonly LabNode[];
  readonly links: readonly LabLink[];
  readonly daemons: readonly LabDaemon[];
  /** Empty where network namespaces stand for the virtual machines. */
  readonly machines: readonly LabMachine[];
  readonly bridges: readonly LabBridge[];
  /** What the virtual machines' root file systems have in common. */
  readonly initramfs: string;
  /** State directories of the virtual machines' daemons, as far as they are on this machine: where sandboxes are. */
  readonly sandboxStates: readonly string[];
  readonly vms: readonly { readonly name: string; readonly endpoint: string; readonly address: string }[];
  readonly sdnEndpoint: string;
  /** The SDN node's network namespace, or that of the cables: from there every daemon is reached. */
  readonly hub: string;
  /** Everything that the lab keeps on disk is below it. */
  readonly directory: string;
  readonly pki: string;
  readonly logs: string;
  /** What `up` has made. */
  readonly recordFile: string;
  /** What smanager needs to find the daemons. */
  readonly managerFile: string;
};

export type LabPlace = Place & {
  /** Executable and first arguments of the daemons. */
  readonly comicran: readonly string[];
  /** How many nodes are virtual machines and not network namespaces; absent: none. */
  readonly machines?: MachineCount;
};

/** vm1 and vm2, or the SDN node as well. */
export type MachineCount = 2 | 3;

const COMICRAN = [join(BIN_DIRECTORY, 'comicran')];

/** @param name of the lab; absent: the one that a person means who says nothing. */
export function placeOf(name?: string): LabPlace {
  return { ...labPlace(name), comicran: COMICRAN };
}

/** The daemons that run in network namespaces. */
function daemonsOf(
  command: readonly string[],
  directory: string,
  simulated: readonly VmAddresses[],
  hasSdn: boolean,
): LabDaemon[] {
  const [pki, logs] = [join(directory, 'pki'), join(directory, 'log')];
  const common = (node: string): string[] => ['--state', join(directory, node), '--pki', pki];
  const sdn: LabDaemon = {
    node: 'sdn',
    program: 'sdn',
    command: [
      ...command,
      ...['sdn', '--listen', `0.0.0.0:${SDN.port}`, ...common('sdn'), '--service-address', SDN.address],
    ],
    endpoint: SDN,
    log: join(logs, 'sdn.log'),
  };
  const sdaemons = simulated.map((vm): LabDaemon => {
    const { name, address } = vm;
    return {
      node: name,
      program: 'sdaemon',
      command: [
        ...command,
        ...['sdaemon', '--name', name, '--address', address, '--listen', `${address}:${SDAEMON_PORT}`],
        ...[...common(name), '--sdn', sdnOf(vm)],
      ],
      endpoint: { address, port: SDAEMON_PORT },
      log: join(logs, `${name}.log`),
    };
  });
  return [...(hasSdn ? [sdn] : []), ...sdaemons];
}

export function labLayout(place: LabPlace = placeOf(process.env['COMICRAN_LAB'])): LabLayout {
  const { prefix, directory, runDirectory, comicran, machines: count } = place;
  const logs = join(directory, 'log');
  const places = { directory, runDirectory, logs };
  const isSdnReal = count === 3;
  const simulated = count === undefined ? VMS : [];
  const node = (name: string, forwards: boolean, ...addresses: string[]): LabNode => ({
    ...{ name, netns: `${prefix}-${name}`, forwards, addresses },
  });
  const near = (name: string, address: string): HubEnd => (isSdnReal ? inBridge(name) : { link: name, address });
  const link = (name: string, gateway: string, far: string): LabLink => ({
    ...{ node: name, near: near(name, gateway), gateway, prefixLength: PREFIX_LENGTH },
    far: { link: 'eth0', address: far },
  });
  const hub = isSdnReal
    ? node('cables', false, CABLES_ADDRESS)
    : node('sdn', true, SDN.address, ...VMS.map(({ gateway }) => gateway));
  const machines = count === undefined ? [] : vmMachines(places, near);
  return {
    nodes: [node('ue', false, UE_ADDRESS), hub, ...simulated.map(({ name, address }) => node(name, true, address))],
    links: [
      link('ue', SDN.address, UE_ADDRESS),
      ...simulated.map(({ name, address, gateway }) => link(name, gateway, address)),
    ],
    bridges: isSdnReal ? BRIDGES : [],
    daemons: daemonsOf(comicran, directory, simulated, !isSdnReal),
    machines: isSdnReal ? [sdnMachine(places), ...machines] : machines,
    initramfs: join(directory, 'initramfs'),
    sandboxStates: simulated.map(({ name }) => join(directory, name)),
    vms: VMS.map(({ name, address }) => ({ name, address, endpoint: `${address}:${SDAEMON_PORT}` })),
    sdnEndpoint: `${SDN.address}:${SDN.port}`,
    hub: hub.netns,
    directory,
    pki: join(directory, 'pki'),
    logs,
    recordFile: join(runDirectory, 'lab.json'),
    managerFile: labManagerFile(place),
  };
}

/** Programs in a node find `comicran` by its name. */
export function pathWithComicran(path: string | undefined): string {
  return `${BIN_DIRECTORY}:${path ?? '/usr/sbin:/usr/bin:/sbin:/bin'}`;
}
