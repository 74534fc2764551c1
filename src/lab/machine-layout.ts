/** The lab's virtual machines as data, and the cables between them. */
import { join } from 'node:path';
import { CABLES_ADDRESS, macOf, PREFIX_LENGTH, SDAEMON_PORT, SDN, sdnOf, VMS } from './addresses.ts';
import type { HubEnd, LabBridge, LabMachine, LabPort } from './layout.ts';

/** Where the files of virtual machines are. */
export type MachinePlaces = { readonly directory: string; readonly runDirectory: string; readonly logs: string };

type Own = Pick<LabMachine, 'ports' | 'gateway' | 'program' | 'environment' | 'endpoint'>;

const bridgeOf = (cable: string): string => `br-${cable}`;

/** The end in a bridge of the cable to a node. */
export const inBridge = (link: string, cable = link): HubEnd => ({ link, bridge: bridgeOf(cable) });

/** One for each link that the SDN node has. */
export const BRIDGES: readonly LabBridge[] = [
  {
    name: bridgeOf('ue'),
    own: { address: CABLES_ADDRESS, prefixLength: PREFIX_LENGTH, gateway: SDN.address },
  },
  ...VMS.map(({ name }) => ({ name: bridgeOf(name) })),
];

const portOf = (near: HubEnd, address: string): LabPort => ({
  ...{ near, address, prefixLength: PREFIX_LENGTH, mac: macOf(address) },
});

function machine(name: string, { directory, runDirectory, logs }: MachinePlaces, own: Own): LabMachine {
  return {
    ...{ name, ...own },
    monitor: join(runDirectory, `${name}.monitor`),
    console: join(runDirectory, `${name}.console`),
    log: join(logs, `${name}.log`),
    emulatorLog: join(logs, `${name}.qemu.log`),
    initramfs: join(directory, `${name}.initramfs`),
    disk: join(directory, `${name}.disk`),
  };
}

/** vm1 and vm2. @param near the hub's end of the link to one */
export function vmMachines(places: MachinePlaces, near: (name: string, gateway: string) => HubEnd): LabMachine[] {
  return VMS.map((vm) => {
    const { name, address, gateway } = vm;
    return machine(name, places, {
      ports: [portOf(near(name, gateway), address)],
      gateway,
      program: 'sdaemon',
      environment: { COMICRAN_NAME: name, COMICRAN_ADDRESS: address, COMICRAN_SDN: sdnOf(vm) },
      endpoint: { address, port: SDAEMON_PORT },
    });
  });
}

/** The SDN node, at the other ends of the cables. */
export function sdnMachine(places: MachinePlaces): LabMachine {
  return machine('sdn', places, {
    ports: [
      portOf(inBridge('sdn-ue', 'ue'), SDN.address),
      ...VMS.map(({ name, gateway }) => portOf(inBridge(`sdn-${name}`, name), gateway)),
    ],
    program: 'sdn',
    environment: { COMICRAN_SERVICE_ADDRESS: SDN.address },
    endpoint: SDN,
  });
}
