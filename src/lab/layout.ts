/**
 * What the lab is made of, as data. Four network namespaces stand for four machines; the SDN node is in the middle:
 *
 *     ue 10.70.0.2 ──── 10.70.0.1 sdn ──┬── 10.71.1.1 ── 10.71.1.2 vm1
 *                                       └── 10.71.2.1 ── 10.71.2.2 vm2
 *
 * Nothing is added to the machine's own network: who wants to talk to a node does it from inside one.
 *
 * With real virtual machines vm1 and vm2 are QEMU's: the same addresses, and TAP devices in the SDN node's namespace for
 * the links.
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

/** A link between the SDN node and another, which has its default route over it. */
export type LabLink = {
  readonly node: string;
  /** The SDN node's end. */
  readonly near: { readonly link: string; readonly address: string };
  readonly far: { readonly link: string; readonly address: string };
  readonly prefixLength: number;
};

/** A virtual machine: QEMU in the SDN node's namespace. */
export type LabMachine = {
  readonly name: string;
  readonly address: string;
  /** The SDN node's end of its link. */
  readonly near: { readonly link: string; readonly address: string };
  readonly prefixLength: number;
  readonly mac: string;
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
  /** Where its daemon finds the sdn. */
  readonly sdn: string;
  /** Where its daemon answers. */
  readonly endpoint: string;
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
  /** What the virtual machines' root file systems have in common. */
  readonly initramfs: string;
  /** State directories of the virtual machines' daemons, as far as they are on this machine: where sandboxes are. */
  readonly sandboxStates: readonly string[];
  readonly vms: readonly { readonly name: string; readonly endpoint: string; readonly address: string }[];
  readonly sdnEndpoint: string;
  /** The SDN node's network namespace: from there every daemon is reached. */
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
  /** Real virtual machines instead of network namespaces; absent: false. */
  readonly realMachines?: boolean;
};

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

/** 02 marks an address of nobody's making; the rest is the IPv4 address, as the links of sandboxes have it. */
function macOf(address: string): string {
  const bytes = [0x02, 0, ...address.split('.').map(Number)];
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

export function labLayout(place: LabPlace = placeOf(process.env['COMICRAN_LAB'])): LabLayout {
  const { prefix, directory, runDirectory, comicran, realMachines = false } = place;
  const pki = join(directory, 'pki');
  const logs = join(directory, 'log');
  const stateOf = (node: string): string => join(directory, node);
  const node = (name: string, forwards: boolean, ...addresses: string[]): LabNode => ({
    ...{ name, netns: `${prefix}-${name}`, forwards, addresses },
  });
  const link = (name: string, near: string, far: string): LabLink => ({
    node: name,
    near: { link: name, address: near },
    far: { link: 'eth0', address: far },
    prefixLength: PREFIX_LENGTH,
  });
  const vms = VMS.map((name, index) => ({ name, address: vmAddress(index + 1), gateway: gatewayOf(index + 1) }));
  const machine = ({ name, address, gateway }: (typeof vms)[number]): LabMachine => ({
    ...{ name, address, near: { link: name, address: gateway }, prefixLength: PREFIX_LENGTH },
    mac: macOf(address),
    monitor: join(runDirectory, `${name}.monitor`),
    console: join(runDirectory, `${name}.console`),
    log: join(logs, `${name}.log`),
    emulatorLog: join(logs, `${name}.qemu.log`),
    initramfs: join(directory, `${name}.initramfs`),
    disk: join(directory, `${name}.disk`),
    sdn: `${gateway}:${SDN_PORT}`,
    endpoint: `${address}:${SDAEMON_PORT}`,
  });
  const simulated = realMachines ? [] : vms;
  return {
    nodes: [
      node('ue', false, '10.70.0.2'),
      node('sdn', true, SERVICE_ADDRESS, ...vms.map(({ gateway }) => gateway)),
      ...simulated.map(({ name, address }) => node(name, true, address)),
    ],
    links: [
      link('ue', SERVICE_ADDRESS, '10.70.0.2'),
      ...simulated.map(({ name, address, gateway }) => link(name, gateway, address)),
    ],
    daemons: [
      {
        node: 'sdn',
        program: 'sdn',
        command: [
          ...comicran,
          ...['sdn', '--listen', `0.0.0.0:${SDN_PORT}`, '--state', stateOf('sdn'), '--pki', pki],
          ...['--service-address', SERVICE_ADDRESS],
        ],
        endpoint: { address: SERVICE_ADDRESS, port: SDN_PORT },
        log: join(logs, 'sdn.log'),
      },
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
    machines: realMachines ? vms.map(machine) : [],
    initramfs: join(directory, 'initramfs'),
    sandboxStates: simulated.map(({ name }) => stateOf(name)),
    vms: vms.map(({ name, address }) => ({ name, address, endpoint: `${address}:${SDAEMON_PORT}` })),
    sdnEndpoint: `${SERVICE_ADDRESS}:${SDN_PORT}`,
    hub: `${prefix}-sdn`,
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
