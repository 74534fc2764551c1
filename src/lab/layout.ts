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

/** The executable of this checkout or installation. */
const BIN_DIRECTORY = join(import.meta.dirname, '../../bin');

const SDN_PORT = 7500;
const SDAEMON_PORT = 7400;

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

const VMS = ['vm1', 'vm2'] as const;
const SERVICE_ADDRESS = '10.70.0.1';
const vmAddress = (number: number): string => `10.71.${number}.2`;
const PREFIX_LENGTH = 24;
const gatewayOf = (number: number): string => `10.71.${number}.1`;

/** The hub's own, where the SDN node is a virtual machine: one more client. */
const CABLES_ADDRESS = '10.70.0.3';
const bridgeOf = (cable: string): string => `br-${cable}`;

/** 02 marks an address of nobody's making; the rest is the IPv4 address, as the links of sandboxes have it. */
function macOf(address: string): string {
  const bytes = [0x02, 0, ...address.split('.').map(Number)];
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

const portOf = (near: HubEnd, address: string): LabPort => ({
  ...{ near, address, prefixLength: PREFIX_LENGTH, mac: macOf(address) },
});

type MachineOwn = Pick<LabMachine, 'ports' | 'gateway' | 'program' | 'environment' | 'endpoint'>;

export function labLayout(place: LabPlace = placeOf(process.env['COMICRAN_LAB'])): LabLayout {
  const { prefix, directory, runDirectory, comicran, machines: count } = place;
  const pki = join(directory, 'pki');
  const logs = join(directory, 'log');
  const stateOf = (node: string): string => join(directory, node);
  const node = (name: string, forwards: boolean, ...addresses: string[]): LabNode => ({
    ...{ name, netns: `${prefix}-${name}`, forwards, addresses },
  });
  const isSdnReal = count === 3;
  const near = (link: string, address: string): HubEnd =>
    isSdnReal ? { link, bridge: bridgeOf(link) } : { link, address };
  const link = (name: string, gateway: string, far: string): LabLink => ({
    ...{ node: name, near: near(name, gateway), gateway, prefixLength: PREFIX_LENGTH },
    far: { link: 'eth0', address: far },
  });
  const vms = VMS.map((name, index) => ({ name, address: vmAddress(index + 1), gateway: gatewayOf(index + 1) }));
  const simulated = count === undefined ? vms : [];
  const machine = (name: string, own: MachineOwn): LabMachine => ({
    ...{ name, ...own },
    monitor: join(runDirectory, `${name}.monitor`),
    console: join(runDirectory, `${name}.console`),
    log: join(logs, `${name}.log`),
    emulatorLog: join(logs, `${name}.qemu.log`),
    initramfs: join(directory, `${name}.initramfs`),
    disk: join(directory, `${name}.disk`),
  });
  const realVms = vms.map(({ name, address, gateway }) =>
    machine(name, {
      ports: [portOf(near(name, gateway), address)],
      gateway,
      program: 'sdaemon',
      environment: { COMICRAN_NAME: name, COMICRAN_ADDRESS: address, COMICRAN_SDN: `${gateway}:${SDN_PORT}` },
      endpoint: { address, port: SDAEMON_PORT },
    }),
  );
  const sdn = { address: SERVICE_ADDRESS, port: SDN_PORT };
  const realSdn = machine('sdn', {
    ports: [
      portOf({ link: 'sdn-ue', bridge: bridgeOf('ue') }, SERVICE_ADDRESS),
      ...vms.map(({ name, gateway }) => portOf({ link: `sdn-${name}`, bridge: bridgeOf(name) }, gateway)),
    ],
    program: 'sdn',
    environment: { COMICRAN_SERVICE_ADDRESS: SERVICE_ADDRESS },
    endpoint: sdn,
  });
  const hub = isSdnReal
    ? node('cables', false, CABLES_ADDRESS)
    : node('sdn', true, SERVICE_ADDRESS, ...vms.map(({ gateway }) => gateway));
  return {
    nodes: [node('ue', false, '10.70.0.2'), hub, ...simulated.map(({ name, address }) => node(name, true, address))],
    links: [
      link('ue', SERVICE_ADDRESS, '10.70.0.2'),
      ...simulated.map(({ name, address, gateway }) => link(name, gateway, address)),
    ],
    bridges: isSdnReal
      ? [
          {
            name: bridgeOf('ue'),
            own: { address: CABLES_ADDRESS, prefixLength: PREFIX_LENGTH, gateway: SERVICE_ADDRESS },
          },
          ...vms.map(({ name }) => ({ name: bridgeOf(name) })),
        ]
      : [],
    daemons: [
      ...(isSdnReal
        ? []
        : [
            {
              node: 'sdn',
              program: 'sdn',
              command: [
                ...comicran,
                ...['sdn', '--listen', `0.0.0.0:${SDN_PORT}`, '--state', stateOf('sdn'), '--pki', pki],
                ...['--service-address', SERVICE_ADDRESS],
              ],
              endpoint: sdn,
              log: join(logs, 'sdn.log'),
            },
          ]),
      ...simulated.map(
        ({ name, address, gateway }): LabDaemon => ({
          node: name,
          program: 'sdaemon',
          command: [
            ...comicran,
            ...['sdaemon', '--name', name, '--address', address, '--listen', `${address}:${SDAEMON_PORT}`],
            ...['--state', stateOf(name), '--pki', pki, '--sdn', `${gateway}:${SDN_PORT}`],
          ],
          endpoint: { address, port: SDAEMON_PORT },
          log: join(logs, `${name}.log`),
        }),
      ),
    ],
    machines: count === undefined ? [] : isSdnReal ? [realSdn, ...realVms] : realVms,
    initramfs: join(directory, 'initramfs'),
    sandboxStates: simulated.map(({ name }) => stateOf(name)),
    vms: vms.map(({ name, address }) => ({ name, address, endpoint: `${address}:${SDAEMON_PORT}` })),
    sdnEndpoint: `${SERVICE_ADDRESS}:${SDN_PORT}`,
    hub: hub.netns,
    directory,
    pki,
    logs,
    recordFile: join(runDirectory, 'lab.json'),
    managerFile: labManagerFile(place),
  };
}

/** Programs in a node find `comicran` by its name. */
export function pathWithComicran(path: string | undefined): string {
  return `${BIN_DIRECTORY}:${path ?? '/usr/sbin:/usr/bin:/sbin:/bin'}`;
}
