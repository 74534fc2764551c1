/** Addresses and ports of the lab; layout.ts has the picture. IPv4. */
export const PREFIX_LENGTH = 24;
export const UE_ADDRESS = '10.70.0.2';
/** The SDN node's own, which clients send to, and its daemon's TCP port. */
export const SDN = { address: '10.70.0.1', port: 7500 } as const;
/** The hub's own, where the SDN node is a virtual machine: one more client. */
export const CABLES_ADDRESS = '10.70.0.3';
export const SDAEMON_PORT = 7400;

export type VmAddresses = {
  readonly name: string;
  readonly address: string;
  /** The SDN node's end of its link. */
  readonly gateway: string;
};

export const VMS: readonly VmAddresses[] = ['vm1', 'vm2'].map((name, index) => ({
  name,
  address: `10.71.${index + 1}.2`,
  gateway: `10.71.${index + 1}.1`,
}));

/** Where a machine's daemon finds the sdn. */
export const sdnOf = ({ gateway }: VmAddresses): string => `${gateway}:${SDN.port}`;

/** 02 marks an address of nobody's making; the rest is the IPv4 address, as the links of sandboxes have it. */
export function macOf(address: string): string {
  const bytes = [0x02, 0, ...address.split('.').map(Number)];
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}
